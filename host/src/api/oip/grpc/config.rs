//! A version's configuration and statistics as messages.

use super::message::model_version_policy::{Latest, PolicyChoice};
use super::message::{
    DataType, InferBatchStatistics, InferStatistics, ModelConfig, ModelDynamicBatching, ModelInput, ModelInstanceGroup, ModelOutput,
    ModelQueuePolicy, ModelResponseCache, ModelStatistics, ModelTransactionPolicy, ModelVersionPolicy, StatisticDuration, model_instance_group,
    model_queue_policy,
};
use crate::api::oip::config::{Config, Input};
use crate::api::oip::stats::{Duration, Stats};
use crate::tensor::Datatype;
use bulkhead_registry::{Batching, TimeoutAction};

impl From<Config<'_>> for ModelConfig {
    fn from(config: Config<'_>) -> Self {
        let input = |port: &Input<'_>| ModelInput {
            name: port.name.to_owned(),
            data_type: data_type(port.datatype).into(),
            dims: port.dims.to_vec(),
            optional: port.optional,
        };
        let output =
            |port: &Input<'_>| ModelOutput { name: port.name.to_owned(), data_type: data_type(port.datatype).into(), dims: port.dims.to_vec() };
        let kind = if config.is_on_gpu { model_instance_group::Kind::Gpu } else { model_instance_group::Kind::Cpu };
        Self {
            name: config.name.to_owned(),
            platform: config.platform.to_owned(),
            backend: config.backend.to_owned(),
            version_policy: Some(ModelVersionPolicy { policy_choice: Some(PolicyChoice::Latest(Latest { num_versions: 1 })) }),
            max_batch_size: i32::try_from(config.max_batch_size).unwrap_or(i32::MAX),
            input: config.inputs().iter().map(input).collect(),
            output: config.outputs().iter().map(output).collect(),
            instance_group: vec![ModelInstanceGroup {
                name: config.name.to_owned(),
                count: i32::try_from(config.instances).unwrap_or(i32::MAX),
                gpus: Vec::new(),
                kind: kind.into(),
            }],
            default_model_filename: config.file.to_owned(),
            dynamic_batching: config.batching.map(Into::into),
            model_transaction_policy: Some(ModelTransactionPolicy { decoupled: false }),
            response_cache: Some(ModelResponseCache { enable: config.is_cached }),
        }
    }
}

impl From<&Batching> for ModelDynamicBatching {
    fn from(batching: &Batching) -> Self {
        let action = match batching.timeout_action {
            TimeoutAction::Reject => model_queue_policy::TimeoutAction::Reject,
            TimeoutAction::Delay => model_queue_policy::TimeoutAction::Delay,
        };
        Self {
            preferred_batch_size: batching.preferred_batch_size.iter().map(|size| i32::try_from(*size).unwrap_or(i32::MAX)).collect(),
            max_queue_delay_microseconds: batching.max_queue_delay_microseconds,
            preserve_ordering: batching.preserve_ordering,
            priority_levels: batching.priority_levels.into(),
            default_priority_level: batching.default_priority_level.into(),
            default_queue_policy: Some(ModelQueuePolicy {
                timeout_action: action.into(),
                default_timeout_microseconds: batching.default_timeout_microseconds,
                allow_timeout_override: batching.allow_timeout_override,
                max_queue_size: batching.max_queue_size,
            }),
        }
    }
}

fn data_type(datatype: Datatype) -> DataType {
    match datatype {
        Datatype::Bool => DataType::TypeBool,
        Datatype::Uint8 => DataType::TypeUint8,
        Datatype::Uint16 => DataType::TypeUint16,
        Datatype::Uint32 => DataType::TypeUint32,
        Datatype::Uint64 => DataType::TypeUint64,
        Datatype::Int8 => DataType::TypeInt8,
        Datatype::Int16 => DataType::TypeInt16,
        Datatype::Int32 => DataType::TypeInt32,
        Datatype::Int64 => DataType::TypeInt64,
        Datatype::Fp16 => DataType::TypeFp16,
        Datatype::Bf16 => DataType::TypeBf16,
        Datatype::Fp32 => DataType::TypeFp32,
        Datatype::Fp64 => DataType::TypeFp64,
        Datatype::Bytes => DataType::TypeString,
    }
}

impl From<Duration> for StatisticDuration {
    fn from(Duration { count, ns }: Duration) -> Self {
        Self { count, ns }
    }
}

impl From<Stats> for ModelStatistics {
    fn from(stats: Stats) -> Self {
        let [success, fail, queue, compute_input, compute_infer, compute_output, cache_hit, cache_miss] =
            stats.inference.map(|(_, total)| Some(StatisticDuration::from(total)));
        let batch = |batch: crate::api::oip::stats::Batch| InferBatchStatistics {
            batch_size: batch.batch_size,
            compute_input: Some(batch.compute_input.into()),
            compute_infer: Some(batch.compute_infer.into()),
            compute_output: Some(batch.compute_output.into()),
        };
        Self {
            name: stats.name,
            version: stats.version,
            last_inference: stats.last_inference,
            inference_count: stats.inference_count,
            execution_count: stats.execution_count,
            inference_stats: Some(InferStatistics { success, fail, queue, compute_input, compute_infer, compute_output, cache_hit, cache_miss }),
            batch_stats: stats.batches.into_iter().map(batch).collect(),
        }
    }
}

//! The host's side: its library, as `predict` uses it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use bulkhead::clock::Deadline;
use bulkhead::payload::Payload;
use bulkhead::sandbox::{AdmissionLimits, Limits, Places, RequestInfo, SandboxOptions, Sandboxes, Transform, UseOptions};
use bulkhead::telemetry::metrics::Metrics;
use bulkhead::tenants::Tenants;
use bulkhead::tensor::{Datatype, Tensor};
use bulkhead_registry::{Digest, Quotas, TenantId};

use super::{Call, Trial};
use crate::Options;

/// The defaults of a manifest, and of the configuration.
const LIMITS: Limits = Limits { time: Duration::from_secs(1), memory_bytes: 64 << 20 };
const INSTANCES: u32 = 512;

pub(super) struct Loop {
    transform: Transform,
    call: Call,
    /// The compiled component is a mapped file in it.
    _cache: tempfile::TempDir,
}

impl Loop {
    pub(super) async fn new(options: &Options, trial: &Trial, component: Vec<u8>) -> Result<Self> {
        let cache = tempfile::tempdir()?;
        let options = SandboxOptions {
            instances: INSTANCES,
            cache: cache.path().to_owned(),
            admission: AdmissionLimits::default(),
            compiler: std::fs::canonicalize(&options.bulkhead)?,
            compile_seconds: 30,
        };
        let sandboxes = Sandboxes::start(options, Metrics::new()?.sandboxes())?;
        let digest = Digest::of(&component);
        let tenant = Tenants::new(Quotas::default(), 1).tenant(&TenantId::default_tenant());
        let plugin = sandboxes.admit(&tenant, &format!("{}@0.1.0", trial.plugin), &digest, component.clone()).await?;
        let options = UseOptions { config: trial.config.into(), limits: LIMITS, warm: false };
        let transform = sandboxes.transform(&plugin, options, std::future::ready(Ok(component))).await?;
        while !transform.is_configured_ahead() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(Self { transform, call: trial.call, _cache: cache })
    }

    pub(super) async fn cycles(&self, count: usize) -> Result<()> {
        for _ in 0..count {
            let request = RequestInfo {
                id: Arc::from("0123456789abcdef0123456789abcdef"),
                model: Arc::from("iris"),
                version: Arc::from("1.0.0"),
                headers: Vec::new(),
                deadline: Deadline::after(Duration::from_secs(60)),
            };
            let places = Places::take(std::slice::from_ref(&self.transform), None, request.deadline).await?.context("no places")?;
            match self.call {
                Call::Before(record) => {
                    drop(self.transform.before(&request, &places, Payload::Json(record.to_owned())).await?);
                }
                Call::After(name, values) => {
                    let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                    let tensor = Tensor { name: name.to_owned(), datatype: Datatype::Fp32, shape: vec![1, 3], data };
                    let Payload::Json(_) = self.transform.after(&request, &places, Payload::Tensors(vec![tensor])).await? else {
                        return Err(anyhow!("the transform gave no JSON"));
                    };
                }
            }
        }
        Ok(())
    }
}

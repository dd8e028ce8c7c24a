//! What a component can be.

use wasmtime::component::{Component, InstancePre};
use wasmtime::{Result, Store};

use super::admission::Refused;
use super::bindings::TransformPre;
use super::bindings::predictor::PredictorPre;
use super::store::Ctx;

/// What a component can be; it exports one of their interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum World {
    /// Goes around a model.
    Transform,
    /// Answers with models that it drives itself.
    Predictor,
}

impl World {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Transform, Self::Predictor];

    /// As in `wit/`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Transform => "transform",
            Self::Predictor => "predictor",
        }
    }

    /// What a component must export to be one.
    #[must_use]
    pub fn interface(self) -> &'static str {
        match self {
            Self::Transform => "bulkhead:plugin/transformer@0.1.0",
            Self::Predictor => "bulkhead:plugin/prediction@0.1.0",
        }
    }

    /// The functions of that interface.
    #[must_use]
    pub fn functions(self) -> &'static [&'static str] {
        match self {
            Self::Transform => &["configure", "describe", "before", "after"],
            Self::Predictor => &["configure", "describe", "predict"],
        }
    }

    /// What it may import beside what every plugin may: how a name begins, and the release that it ends with.
    #[must_use]
    pub fn grantable(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Transform => None,
            Self::Predictor => Some(("wasi:nn/", "@0.2.0-rc-2024-10-28")),
        }
    }

    /// What it may import, in words.
    pub(super) fn imports(self) -> &'static str {
        match self {
            Self::Transform => "`bulkhead:plugin/log@0.1.0` and WASI 0.2",
            Self::Predictor => "`bulkhead:plugin/log@0.1.0`, `wasi:nn` of the release 0.2.0-rc-2024-10-28 and WASI 0.2",
        }
    }

    /// The one of a component.
    ///
    /// # Errors
    /// Where it exports the interface of none, or of several.
    pub(super) fn of(component: &Component) -> Result<Self, Refused> {
        let ty = component.component_type();
        let exports: Vec<String> = ty.exports(component.engine()).map(|(name, _)| name.to_owned()).collect();
        let mut worlds = Self::ALL.into_iter().filter(|world| exports.iter().any(|export| export == world.interface()));
        match (worlds.next(), worlds.next()) {
            (Some(world), None) => Ok(world),
            (found, _) => {
                let wanted = Self::ALL.map(|world| format!("`bulkhead:plugin/{}@0.1.0`, which exports `{}`", world.name(), world.interface()));
                let shown: Vec<_> = exports.iter().map(|name| format!("`{name}`")).collect();
                let got = match found {
                    Some(_) => "one that exports several of these interfaces".to_owned(),
                    None if exports.is_empty() => "one that exports nothing".to_owned(),
                    None => format!("one that exports {}", shown.join(", ")),
                };
                Err(Refused::WrongWorld(format!("expected a component of the world {}; got {got}", wanted.join(", or of "))))
            }
        }
    }
}

#[derive(Clone)]
/// A component that can be instantiated, under the generated face of its world.
pub(super) enum Typed {
    Transform(TransformPre<Ctx>),
    Predictor(PredictorPre<Ctx>),
}

impl Typed {
    pub(super) fn new(world: World, pre: InstancePre<Ctx>) -> Result<Self> {
        Ok(match world {
            World::Transform => Self::Transform(TransformPre::new(pre)?),
            World::Predictor => Self::Predictor(PredictorPre::new(pre)?),
        })
    }

    pub(super) fn world(&self) -> World {
        match self {
            Self::Transform(_) => World::Transform,
            Self::Predictor(_) => World::Predictor,
        }
    }

    /// Makes an instance without comparing types.
    pub(super) fn pre(&self) -> &InstancePre<Ctx> {
        match self {
            Self::Transform(pre) => pre.instance_pre(),
            Self::Predictor(pre) => pre.instance_pre(),
        }
    }

    /// Makes an instance and compares all its types with those of `wit/`.
    pub(super) async fn compare(&self, store: &mut Store<Ctx>) -> Result<()> {
        match self {
            Self::Transform(pre) => pre.instantiate_async(store).await.map(drop),
            Self::Predictor(pre) => pre.instantiate_async(store).await.map(drop),
        }
    }
}

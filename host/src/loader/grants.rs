//! Whether a manifest grants a plugin more than the model's version before it did.

use bulkhead_registry::{Grants, Manifest, ModelRef, PredictorUse, TenantId};

use super::{Loader, LoaderError};

impl Loader {
    /// Refuses grants that the version before did not have: the one in production, or the highest where none is.
    pub(super) async fn no_new_grants(&self, tenant: &TenantId, model: &ModelRef, manifest: &Manifest) -> Result<(), LoaderError> {
        let Some(used) = &manifest.predictor else { return Ok(()) };
        let before = match self.store().model(tenant, &model.name).await? {
            Some(there) => {
                let version = there.production.unwrap_or(there.latest);
                self.store().version(tenant, &ModelRef { name: model.name.clone(), version }).await?
            }
            None => None,
        };
        let new = added(used, before.as_ref().and_then(|before| before.manifest.predictor.as_ref()));
        if new.is_empty() {
            return Ok(());
        }
        let than = before.map_or_else(|| "and there is no version before it".to_owned(), |before| format!("which `{}` does not", before.model));
        Err(LoaderError::Grant(format!("the manifest grants `{}` {}, {than}: that needs the scope `plugins:grant`", used.plugin, new.join(", "))))
    }
}

/// What a plugin is granted that it was not before, in words. Another plugin had nothing, whatever its grants' names are; another
/// version of the same plugin has what that had.
fn added(used: &PredictorUse, before: Option<&PredictorUse>) -> Vec<String> {
    let none = Grants::default();
    let had = before.filter(|before| before.plugin.name == used.plugin.name).map_or(&none, |before| &before.grants);
    let graphs = used.grants.graphs.iter().filter(|(name, model)| had.graphs.get(*name) != Some(model));
    let mut added: Vec<_> = graphs.map(|(name, model)| format!("the graph `{name}`, which is `{model}`")).collect();
    if used.grants.load_mb > had.load_mb {
        added.push(format!("to bring models of {} MiB", used.grants.load_mb));
    }
    added
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(plugin: &str, graphs: &[(&str, &str)], load_mb: u32) -> PredictorUse {
        let graphs = graphs.iter().map(|(name, model)| ((*name).to_owned(), model.parse().unwrap())).collect();
        PredictorUse { plugin: plugin.parse().unwrap(), config: serde_json::Map::new(), grants: Grants { graphs, load_mb } }
    }

    #[test]
    fn what_is_added_or_changed_is_new_and_what_is_taken_away_is_not() {
        let before = used("c@1.0.0", &[("small", "s@1.0.0"), ("big", "b@1.0.0")], 4);
        for (now, new) in [
            (used("c@1.0.0", &[("small", "s@1.0.0"), ("big", "b@1.0.0")], 4), 0),
            (used("c@2.0.0", &[("small", "s@1.0.0")], 0), 0),
            (used("c@1.0.0", &[("small", "s@1.1.0"), ("big", "b@1.0.0")], 4), 1),
            (used("c@1.0.0", &[("tiny", "s@1.0.0")], 5), 2),
            (used("other@1.0.0", &[("small", "s@1.0.0")], 1), 2),
            (used("other@1.0.0", &[], 0), 0),
        ] {
            assert_eq!(added(&now, Some(&before)).len(), new, "{now:?}");
        }
        assert_eq!(added(&before, None).len(), 3);
    }
}

//! Reads the host's metrics.

use crate::TestHost;

impl TestHost {
    /// The sum of all samples of a metric that have these labels.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let text = self.get("/metrics").await.expect(200).text();
        let wanted: Vec<_> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
        samples.filter(|(series, _)| is_of(series, name, &wanted)).filter_map(|(_, value)| value.parse::<f64>().ok()).sum()
    }
}

fn is_of(series: &str, name: &str, labels: &[String]) -> bool {
    let (own, rest) = series.split_once('{').unwrap_or((series, ""));
    own == name && labels.iter().all(|label| rest.trim_end_matches('}').split(',').any(|own| own == label))
}

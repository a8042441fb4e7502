//! What a proxy answers.

/// An answer, taken apart.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        Some(Self { status, headers: lines.filter_map(header).collect(), body: body.to_owned() })
    }

    pub(crate) fn header(&self, name: &str) -> String {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap_or_default()
    }

    pub(crate) fn headers_like(&self, prefix: &str) -> Vec<String> {
        self.headers.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(name, _)| name.clone()).collect()
    }

    /// A field of the demo app's answer, `headers/x-real-ip` being one inside another.
    pub(crate) fn json(&self, field: &str) -> String {
        let json: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        json.pointer(&format!("/{field}")).and_then(|value| value.as_str()).unwrap_or_default().to_owned()
    }
}

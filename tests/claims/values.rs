//! Values of labels: what is read is printed in one way, which is read as the same, and has the characters of its type alone.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use interlock_core::labels::options::{
    BackendProtocol, ByteSize, Canary, HeaderEdit, HeaderName, HeaderValue, RateLimit, RedirectTarget, TimeSpan, Token,
};
use interlock_core::labels::{Redirect, RouteLabels};
use interlock_core::proxy_config::{Generation, Revision, UpstreamName};
use interlock_core::units::{
    Cluster, CookieName, Host, HostPattern, NetworkName, PathPrefix, Port, ProxyVersion, RouteName, SecretName,
};

/// Characters besides letters and digits that some value of a type may have.
const NAME: &str = "-_.";
const PATH: &str = "/-_.~";
const URL: &str = ":/?&=#%.,_~+@!*()-";
/// Values of headers stand in quotes, and have to be able to say `default-src 'self'`: all that is visible but `;`, `$` and backslash.
const HEADER: &str = " !\"#%&'()*+,-./:<=>?@[]^_`{|}~;";

/// Reads any text as each type. A new type needs a line here.
pub fn any_text(text: &str) {
    read::<Host>(text, NAME);
    read::<HostPattern>(text, "-_.*");
    read::<Port>(text, "");
    read::<PathPrefix>(text, PATH);
    read::<SecretName>(text, NAME);
    read::<NetworkName>(text, NAME);
    read::<CookieName>(text, NAME);
    read::<Cluster>(text, NAME);
    read::<RouteName>(text, "-_");
    read::<ByteSize>(text, "");
    read::<RedirectTarget>(text, URL);
    read::<Token>(text, NAME);
    read::<HeaderName>(text, "-");
    read::<HeaderValue>(text, HEADER);
    read::<UpstreamName>(text, "-_.+");
    read::<Revision>(text, "");
    read::<Generation>(text, "");
    read::<ProxyVersion>(text, ".");
    if let Ok(protocol) = text.parse::<BackendProtocol>() {
        assert_eq!(protocol.as_str(), text);
    }
    if let Ok(time) = text.parse::<TimeSpan>() {
        this_time(time);
    }
    if let Ok(rate) = text.parse::<RateLimit>() {
        this_rate(rate);
    }
}

fn read<T: FromStr + Display + PartialEq + Debug>(text: &str, besides: &str) {
    if let Ok(value) = text.parse::<T>() {
        this(&value, besides);
    }
}

fn this<T: FromStr + Display + PartialEq + Debug>(value: &T, besides: &str) {
    let printed = value.to_string();
    let odd = printed.chars().find(|c| !(c.is_ascii_alphanumeric() || besides.contains(*c)));
    assert_eq!(odd, None, "{printed:?}");
    let again = printed.parse::<T>().ok();
    assert_eq!(again.as_ref(), Some(value), "{printed:?}");
    assert_eq!(again.map(|again| again.to_string()), Some(printed));
}

/// Printed it may have more digits than a label may.
fn this_time(time: TimeSpan) {
    let printed = time.to_string();
    assert!(printed.chars().all(|c| c.is_ascii_digit() || "ms".contains(c)), "{printed}");
    assert_eq!(TimeSpan::try_from(printed.clone()), Ok(time), "{printed}");
}

fn this_rate(rate: RateLimit) {
    let RateLimit { per_second, burst } = rate;
    assert_eq!(format!("{per_second},{burst}").parse::<RateLimit>(), Ok(rate));
}

/// Checks all that was read of a route's labels. A label that this function does not name may only have the characters of names.
pub fn route(labels: &RouteLabels) {
    let said = serde_json::to_value(labels).expect("JSON");
    for (key, value) in said.as_object().into_iter().flatten() {
        let besides = match key.as_str() {
            "hosts" => "-_.*",
            "context_root" | "websocket_endpoints" => PATH,
            "allow" => ".:/",
            "redirects" => URL,
            "request_headers" | "response_headers" => HEADER,
            _ => NAME,
        };
        texts(value, &mut |text| {
            let odd = text.chars().find(|c| !(c.is_ascii_alphanumeric() || besides.contains(*c)));
            assert_eq!(odd, None, "{key}: {text:?}");
        });
    }
    labels.hosts.iter().flatten().for_each(|host| this(host, "-_.*"));
    labels.redirects.iter().flatten().for_each(redirect);
    labels.canary_header.iter().chain(&labels.canary_cookie).for_each(canary);
    labels.allow.iter().flat_map(|it| it.iter()).for_each(|network| this(network, ".:/"));
    let headers = labels.request_headers.iter().chain(&labels.response_headers);
    headers.flat_map(|it| it.iter()).for_each(header);
    let RouteLabels { max_fails, weight, fail_timeout, .. } = labels;
    assert!(max_fails.is_none_or(|fails| fails <= 99_999) && weight.is_none_or(|weight| weight <= 1000));
    assert!(
        fail_timeout.is_none_or(|time| time.millis % 1000 == 0),
        "nginx takes no part of a second: {fail_timeout:?}"
    );
}

/// The texts in a value, wherever they stand.
fn texts(value: &serde_json::Value, check: &mut impl FnMut(&str)) {
    match value {
        serde_json::Value::String(text) => check(text),
        serde_json::Value::Array(items) => items.iter().for_each(|item| texts(item, check)),
        serde_json::Value::Object(fields) => fields.values().for_each(|field| texts(field, check)),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}

fn redirect(redirect: &Redirect) {
    let Redirect { from_https, from_host, to } = redirect;
    this(from_host, "-_.");
    this(to, URL);
    let itself = format!("{}://{from_host}", if *from_https { "https" } else { "http" });
    let beyond = to.as_str().strip_prefix(&itself).and_then(|rest| rest.chars().next().or(Some('/')));
    assert!(!matches!(beyond, Some('/' | '?' | '#')), "{redirect:?} has no end");
}

fn canary(canary: &Canary) {
    let value = match canary {
        Canary::Header(name, value) => {
            this(name, "-");
            value
        }
        Canary::Cookie(name, value) => {
            this(name, NAME);
            value
        }
    };
    value.iter().for_each(|value| this(value, NAME));
}

fn header(edit: &HeaderEdit) {
    this(&edit.name, "-");
    edit.value.iter().for_each(|value| this(value, HEADER));
}

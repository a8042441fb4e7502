//! What is wrong with certificates, by the word of the proxies that have them.

use jiff::{SignedDuration, Timestamp};

use crate::peers::Reports;
use crate::problem::{Effect, Problem, Severity, Subject, said, shown};
use crate::routes::model::{Certificate, Model, Route, Tls};
use crate::units::SecretName;

/// How long before its end a certificate is warned about.
const SOON: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What is wrong with the secrets of routes. What no proxy has told yet is taken to be right.
pub(crate) fn problems(model: &Model, reports: &Reports, now: Timestamp) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !model.names_secrets() {
        return problems;
    }
    for route in model.routes.iter() {
        if let Tls::Terminated(certificate) = &route.asks.tls {
            problems.extend(of_pair(route, certificate, reports, now));
        }
        if let Some(authorities) = &route.asks.options.ssl_backend_ca
            && let Some(report) = reports.secret(&route.cluster, authorities)
            && !report.has_certificate()
        {
            let (wrong, right) = match &report.unusable {
                Some(why) => (unusable(why), AS_PEM),
                None => ("holds no certificate".to_owned(), "put the authorities' certificates into it, as PEM"),
            };
            let problem = problem(route, "ssl_backend_ca", authorities, wrong, right);
            problems.push(Problem { effect: Effect::LeftOut, ..problem });
        }
    }
    problems
}

fn of_pair(route: &Route, pair: &Certificate, reports: &Reports, now: Timestamp) -> Option<Problem> {
    let Certificate { certificate, key } = pair;
    let told = |name: &SecretName| reports.secret(&route.cluster, name);
    let (of_certificate, of_key) = (told(certificate)?, told(key)?);
    let about = |label, name, wrong: &str, right| Some(problem(route, label, name, wrong.to_owned(), right));
    let key_label = if certificate == key { "ssl_cert" } else { "ssl_key" };
    let secrets = [("ssl_cert", certificate, of_certificate), (key_label, key, of_key)];
    if let Some((label, name, why)) =
        secrets.iter().find_map(|(label, name, it)| Some((label, name, it.unusable.as_ref()?)))
    {
        return about(label, name, &unusable(why), AS_PEM);
    }
    let (Some(public), Some(end)) = (&of_certificate.public_key, of_certificate.not_after) else {
        return about("ssl_cert", certificate, "holds no certificate", "put one into it, as PEM");
    };
    if !of_key.has_key {
        return about(key_label, key, "holds no private key", "put the certificate's into it, as PEM");
    }
    if of_key.key_of.as_ref().is_some_and(|of_key| of_key != public) {
        let right = "make a secret with the key that belongs to the certificate, and name it";
        return about(key_label, key, "does not belong to the certificate", right);
    }
    const RENEW: &str = "make a secret with a new one, and name it";
    let day = end.strftime("%Y-%m-%d");
    if end <= now {
        return Some(Problem {
            effect: Effect::Kept,
            ..problem(route, "ssl_cert", certificate, format!("ended on {day}: clients refuse it"), RENEW)
        });
    }
    (end.duration_since(now) < SOON).then(|| Problem {
        severity: Severity::Warning,
        effect: Effect::Kept,
        ..problem(route, "ssl_cert", certificate, format!("ends on {day}"), RENEW)
    })
}

const AS_PEM: &str =
    "make a secret that OpenSSL can read, and name it: each part of a PEM file begins and ends on lines of its own";

fn unusable(why: &str) -> String {
    format!("cannot be used by the proxies: {}", said(why))
}

fn problem(route: &Route, label: &str, secret: &SecretName, wrong: String, right: &str) -> Problem {
    Problem::new(Severity::Error, Subject::Service(route.service.clone()), wrong, right, Effect::NoTls)
        .about(Some(shown(&route.label(label))), Some(secret.to_string()))
}

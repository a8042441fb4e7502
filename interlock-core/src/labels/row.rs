//! What a row of the table says, and the macro that makes everything else of the rows.
//!
//! [`labels!`] takes the rows and makes three things of them: [`RouteLabels`](super::RouteLabels), with a field for each label;
//! [`RouteOptions`](super::RouteOptions), with a field for each label that a proxy carries out as it is written; and
//! [`TABLE`](super::TABLE), the rows themselves. A list of labels anywhere else is a question to the table.

use super::{RouteLabels, RouteOptions};
use crate::units::Invalid;

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Label {
    /// The key without [`PREFIX`](super::PREFIX).
    pub key: &'static str,
    /// What values look like, in a few words.
    pub syntax: &'static str,
    /// What holds without the label.
    pub default: &'static str,
    /// A value that is right.
    pub example: &'static str,
    /// A value that is wrong.
    pub counterexample: &'static str,
    /// What it means.
    pub doc: &'static str,
    /// Whether a named route has it from the labels without a suffix, when it has none of its own.
    pub inherited: bool,
    /// What becomes of it on a route with `ssl_passthrough`.
    pub passthrough: Passthrough,
    /// What it keeps away.
    pub guard: Guard,
    /// The value with which it asks for nothing; `None` where each value asks for something.
    pub off: Option<&'static str>,
    /// What it has to do with which requests a route gets.
    pub scope: Scope,
    /// What it comes to where proxies do not see the addresses of clients.
    pub addresses: Addresses,
    /// Its name in Interlock 1, behind `interlock.`.
    pub interlock1: Option<&'static str>,
    /// The field of [`RouteOptions`] that it is part of. Services that share requests have to agree on these.
    pub option: Option<&'static str>,
    /// Reads a value into its field.
    pub(crate) set: fn(&mut RouteLabels, &str) -> Result<(), Invalid>,
    /// Fills its field from other labels, if it is empty.
    pub(crate) fill: fn(&mut RouteLabels, &RouteLabels),
    /// Whether it is set to something else than [`Label::off`].
    pub(crate) is_on: fn(&RouteLabels) -> bool,
}

/// What becomes of a label on a route with `ssl_passthrough`, where proxies see connections and no requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passthrough {
    /// It is about hosts or connections, and holds as always.
    Holds,
    /// It is about requests, and does nothing. Core reports it.
    Ignored,
    /// It is about requests, and without it others would get them: the two cannot be combined.
    Refused,
}

/// What a label keeps away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// Nothing.
    Nothing,
    /// Nothing, but services that share requests must agree on it: with the value of another one no request succeeds.
    Agree,
    /// Somebody or something. A service that asks for it is not published without it: not by its earlier labels, nor beside an older
    /// service whose options do not give it.
    Withholds,
    /// Likewise, and what it keeps away are clients: by who they are, or how much they ask for. Where the paths of a host differ in it, an
    /// application of one path must not find another path in a request.
    Access,
}

impl Guard {
    /// Whether a service that asks for it is not published without it.
    pub const fn protects(self) -> bool {
        matches!(self, Self::Withholds | Self::Access)
    }
}

/// What a label has to do with which requests a route gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Nothing.
    Nothing,
    /// It makes a route, which gets its requests by it.
    Makes,
    /// It narrows the requests of a route that another label makes.
    Narrows,
}

/// What a label comes to where all clients have addresses of the routing mesh. Each variant has the words for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// The same as elsewhere.
    Unread,
    /// Something that its owner may not want. Core reports it.
    Weaker(&'static str),
    /// Nothing. Core does not publish the service.
    Needed(&'static str),
}

impl Label {
    /// A row that says as little as possible.
    pub(crate) const PLAIN: Self = Self {
        key: "",
        syntax: "",
        default: "",
        example: "",
        counterexample: "",
        doc: "",
        inherited: true,
        passthrough: Passthrough::Holds,
        guard: Guard::Nothing,
        off: None,
        scope: Scope::Nothing,
        addresses: Addresses::Unread,
        interlock1: None,
        option: None,
        set: |_, _| Ok(()),
        fill: |_, _| {},
        is_on: |_| false,
    };

    /// Whether it is on or off.
    pub(crate) fn is_switch(&self) -> bool {
        self.off == Some("false")
    }

    /// Whether a value is right and asks for nothing.
    pub(crate) fn is_off(&self, value: &str) -> bool {
        let mut route = RouteLabels::default();
        self.off.is_some() && (self.set)(&mut route, value).is_ok() && !(self.is_on)(&route)
    }
}

/// A field of [`RouteOptions`].
pub(crate) struct RouteOption {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it keeps away, if it is one label's alone.
    pub(crate) guard: Guard,
    /// Whether two routes ask for the same.
    pub(crate) is_same: fn(&RouteOptions, &RouteOptions) -> bool,
}

/// Makes [`RouteLabels`], [`RouteOptions`] and the table of rows. In a row some clauses may be left out:
///
/// - `off`, `scope`, `addresses` and `interlock1`: the fields of [`Label`] with these names.
/// - `option name: Type = function`: a field of [`RouteOptions`], and the function that makes it of the labels.
/// - `secret: name`: a field of [`RouteOptions`] for the name of a secret, which proxies get.
/// - `part_of: name`: the field that the label makes together with others.
///
/// In front of the rows stand fields of [`RouteOptions`] that several labels make `together`.
macro_rules! labels {
    (
        together { $($first:ident: $first_type:ty = $first_of:expr,)* }
        $($key:ident: $type:ty {
            syntax: $syntax:literal,
            default: $default:literal,
            example: $example:literal,
            counterexample: $counterexample:literal,
            doc: $doc:literal,
            inherited: $inherited:literal,
            passthrough: $passthrough:expr,
            guard: $guard:expr,
            $(off: $off:literal,)?
            $(scope: $scope:expr,)?
            $(addresses: $addresses:expr,)?
            $(interlock1: $interlock1:literal,)?
            read: $read:expr,
            $(option $option:ident: $option_type:ty = $option_of:expr,)?
            $(secret: $secret:ident,)?
            $(part_of: $part_of:ident,)?
        })*
    ) => {
        /// What the labels of one route say. A field is `None` when its label is absent. Long lists that named routes inherit are shared by
        /// them.
        #[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
        pub struct RouteLabels {
            $(#[doc = $doc] #[serde(skip_serializing_if = "is_default")] pub $key: Option<$type>,)*
        }

        /// What a route asks for, as far as the services that share its requests have to agree on it. Long lists are shared by all that have
        /// them: each host and path of a route has its options.
        ///
        /// The order of the fields is the order in JSON, and so part of each revision.
        #[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct RouteOptions {
            $(
                #[doc = concat!("What the labels behind `", stringify!($first), "` come to together.")]
                #[serde(skip_serializing_if = "is_default")]
                pub $first: $first_type,
            )*
            $(
                $(
                    #[doc = concat!("What the label `", stringify!($key), "` asks for.")]
                    #[serde(skip_serializing_if = "is_default")]
                    pub $option: $option_type,
                )?
                $(
                    #[doc = concat!("The secret that the label `", stringify!($key), "` names.")]
                    #[serde(skip_serializing_if = "is_default")]
                    pub $secret: Option<SecretName>,
                )?
            )*
        }

        impl RouteOptions {
            /// What labels ask for by themselves: with the names of secrets as they are written, and without the defaults of settings.
            pub(crate) fn said_by(labels: &RouteLabels) -> Self {
                Self {
                    $($first: $first_of(labels),)*
                    $(
                        $($option: { let of: fn(&RouteLabels) -> $option_type = $option_of; of(labels) },)?
                        $($secret: labels.$secret.clone(),)?
                    )*
                }
            }

            /// The secrets of labels that name one each, with their labels.
            pub(crate) fn own_secrets(&self) -> impl Iterator<Item = (&'static str, &SecretName)> {
                let all = [$($((stringify!($key), &self.$secret),)?)*];
                all.into_iter().filter_map(|(label, name)| Some((label, name.as_ref()?)))
            }

            /// The same, to be replaced.
            pub(crate) fn own_secrets_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut SecretName)> {
                let all = [$($((stringify!($key), &mut self.$secret),)?)*];
                all.into_iter().filter_map(|(label, name)| Some((label, name.as_mut()?)))
            }
        }

        /// The fields of [`RouteOptions`].
        pub(crate) static OPTIONS: &[RouteOption] = &[
            $(RouteOption { name: stringify!($first), guard: Guard::Nothing, is_same: |a, b| a.$first == b.$first },)*
            $(
                $(RouteOption { name: stringify!($option), guard: $guard, is_same: |a, b| a.$option == b.$option },)?
                $(RouteOption { name: stringify!($secret), guard: $guard, is_same: |a, b| a.$secret == b.$secret },)?
            )*
        ];

        /// Every label, in the order in which `interlock labels` shows them.
        pub const TABLE: &[Label] = &[$(
            Label {
                key: stringify!($key),
                syntax: $syntax,
                default: $default,
                example: $example,
                counterexample: $counterexample,
                doc: $doc,
                inherited: $inherited,
                passthrough: $passthrough,
                guard: $guard,
                $(off: Some($off),)?
                $(scope: $scope,)?
                $(addresses: $addresses,)?
                $(interlock1: Some($interlock1),)?
                $(option: Some(stringify!($option)),)?
                $(option: Some(stringify!($secret)),)?
                $(option: Some(stringify!($part_of)),)?
                set: |route, text| {
                    let read: fn(&str) -> Result<$type, Invalid> = $read;
                    route.$key = Some(read(text)?);
                    Ok(())
                },
                fill: |route, base| if route.$key.is_none() { route.$key.clone_from(&base.$key) },
                is_on: |route| {
                    let read: fn(&str) -> Result<$type, Invalid> = $read;
                    let off: &[&str] = &[$($off)?];
                    route.$key.is_some() && off.iter().all(|off| read(off).ok() != route.$key)
                },
                ..Label::PLAIN
            }
        ),*];
    };
}
pub(super) use labels;

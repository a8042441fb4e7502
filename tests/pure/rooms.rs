//! The order of the rooms of `interlock-core`: a room uses rooms above its own line only. Within a room modules use each other in one direction.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// The modules of `interlock-core`, lowest first, with what each holds.
const ROOMS: &[(&str, &str)] = &[
    (
        "units",
        "hosts, paths, ports, names, networks, sizes, times, URLs, versions, hashes: types that cannot hold a wrong value",
    ),
    ("swarm", "the state of the Swarm, as a value and as a file; constraints as Swarm's scheduler reads them"),
    ("problem", "what is wrong, for whom, and what to do about it"),
    ("labels", "one table of labels; reading a service's labels; a type for each thing that a route may ask for"),
    ("settings", "Interlock's TOML; one table of keys"),
    ("ownership", "which objects are interlock's own, where core is, and which of several cores acts"),
    (
        "routes",
        "services → routes with addresses → virtual hosts; the one rule for conflicts; budgets; which routes are live",
    ),
    ("proxy_config", "virtual hosts → what a proxy has to do, with a revision"),
    (
        "kinds",
        "what a kind of proxy makes of a proxy config: files, the proof that labels change no structure, the check, the server",
    ),
    ("peers", "what extensions and agents report about themselves, as values; who is silent"),
    (
        "deployment",
        "the Docker objects that should exist; which networks and secrets proxy tasks have and need; services that lack tasks",
    ),
    ("plan", "the actual and the desired state → actions with reasons"),
    ("reconcile", "the steps, one call each; what is remembered"),
    ("install", "setting core up and removing it, as plans; what is missing until all serve"),
    ("trust", "the authority, identities, the content of a certificate"),
    ("docker", "the adapter: reads, one call for each action, events; the only one that knows bollard"),
    ("extension", "the loop of an extension: which routes a checker refuses"),
    ("grpc", "the contract of `proto/`, both sides of it, TLS; the only one that knows the contract's own types"),
    ("agent", "supervises the server of a kind, and gives it each revision"),
    ("runtime", "the loop, and one run of it"),
];

/// A module by the names on the way to it from its crate's root.
type Module = Vec<String>;

/// Who uses whom in a crate, with the paths as they are written.
type Uses = BTreeMap<(Module, Module), BTreeSet<String>>;

#[test]
fn each_room_uses_rooms_above_its_line_only() {
    let order: BTreeMap<_, _> = ROOMS.iter().enumerate().map(|(line, (room, _))| (*room, line)).collect();
    let modules = modules("interlock-core/src");
    let roots: BTreeSet<_> = modules.keys().filter_map(|module| module.first()).map(String::as_str).collect();
    assert_eq!(roots, order.keys().copied().collect(), "each module of the crate has its line");
    let mut wrong = String::new();
    for ((from, to), written) in uses(&modules) {
        let (user, used) = (&from[0], &to[0]);
        if user != used && order[&**used] > order[&**user] {
            writeln!(wrong, "{}: {}", from.join("/"), written.into_iter().collect::<Vec<_>>().join(", ")).unwrap();
        }
    }
    assert!(wrong.is_empty(), "these use what is below their line:\n{wrong}");
}

/// The map in ARCHITECTURE.md is this list.
#[test]
fn the_map_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (above, rest) = text.split_once("<!-- rooms -->\n").unwrap();
    let (map, below) = rest.split_once("<!-- /rooms -->").unwrap();
    let rows = ROOMS.iter().map(|(room, content)| format!("| `{room}` | {content} |\n"));
    let wanted = format!("| module | content |\n|---|---|\n{}", rows.collect::<String>());
    if map != wanted {
        std::fs::write(&path, format!("{above}<!-- rooms -->\n{wanted}<!-- /rooms -->{below}")).unwrap();
        panic!("ARCHITECTURE.md had another map; it is rewritten");
    }
}

#[test]
fn modules_use_each_other_in_one_direction() {
    let mut wrong = String::new();
    for source in ["interlock-core/src", "interlock-cli/src", "interlock-testkit/src"] {
        // By the module that they are children of.
        let mut siblings: BTreeMap<Module, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
        for (from, to) in uses(&modules(source)).into_keys() {
            let common = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
            if let (Some(user), Some(used)) = (from.get(common), to.get(common)) {
                let of_parent = siblings.entry(from[..common].to_vec()).or_default();
                of_parent.entry(user.clone()).or_default().insert(used.clone());
            }
        }
        for (parent, uses) in siblings {
            for user in uses.keys() {
                let others = uses[user].iter().filter(|used| reaches(&uses, used, user));
                others.for_each(|used| writeln!(wrong, "{source}/{}: {user} ↔ {used}", parent.join("/")).unwrap());
            }
        }
    }
    assert!(wrong.is_empty(), "these use each other:\n{wrong}");
}

fn reaches(uses: &BTreeMap<String, BTreeSet<String>>, from: &str, to: &str) -> bool {
    let (mut seen, mut next) = (BTreeSet::from([from]), vec![from]);
    while let Some(module) = next.pop() {
        if module == to {
            return true;
        }
        next.extend(uses.get(module).into_iter().flatten().map(String::as_str).filter(|used| seen.insert(used)));
    }
    false
}

/// The modules of a crate that have a file, tests' own left out.
fn modules(source: &str) -> BTreeMap<Module, syn::File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    let mut modules = BTreeMap::new();
    for path in files(&root) {
        let relative = path.strip_prefix(&root).unwrap().with_extension("");
        let module: Module = relative.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        if !["lib", "main", "tests"].contains(&module.last().unwrap().as_str()) {
            modules.insert(module, syn::parse_file(&std::fs::read_to_string(&path).unwrap()).unwrap());
        }
    }
    assert!(modules.len() > 5, "{source} has modules");
    modules
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let below = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    entries.flat_map(below).filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

fn uses(modules: &BTreeMap<Module, syn::File>) -> Uses {
    let mut uses = Uses::new();
    for (module, file) in modules {
        let mut paths = Paths { module: module.clone(), found: BTreeSet::new() };
        paths.visit_file(file);
        for path in paths.found {
            let known = (1..=path.len()).rev().map(|length| &path[..length]).find(|it| modules.contains_key(*it));
            let Some(known) = known.filter(|known| !module.starts_with(known) && !known.starts_with(module)) else {
                continue;
            };
            uses.entry((module.clone(), known.to_vec())).or_default().insert(path.join("::"));
        }
    }
    uses
}

/// The paths in a module that begin with its crate or a module of it, from the crate's root.
struct Paths {
    module: Module,
    found: BTreeSet<Module>,
}

impl Paths {
    fn take(&mut self, path: &[String]) {
        let mut base = self.module.clone();
        let mut rest = path.iter().peekable();
        match rest.peek().map(|first| first.as_str()) {
            Some("crate") => base.clear(),
            Some("self" | "super") => {}
            // A name of this module, or of another crate.
            _ => return,
        }
        for part in rest {
            match part.as_str() {
                "crate" | "self" => {}
                "super" => drop(base.pop()),
                name => base.push(name.to_owned()),
            }
        }
        self.found.insert(base);
    }

    fn tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.tree(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.take(&with(&name.ident)),
            syn::UseTree::Rename(name) => self.take(&with(&name.ident)),
            syn::UseTree::Glob(_) => self.take(before),
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.tree(before, item)),
        }
    }
}

impl Visit<'_> for Paths {
    fn visit_item_use(&mut self, item: &syn::ItemUse) {
        self.tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &syn::Path) {
        let parts: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.take(&parts);
        visit::visit_path(self, path);
    }

    fn visit_item_mod(&mut self, item: &syn::ItemMod) {
        // Tests' own modules may use what they test with.
        if item.ident == "tests" || item.content.is_none() {
            return;
        }
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }
}

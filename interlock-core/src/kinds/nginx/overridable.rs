//! A block of a template whose directives the operator may set: `{{#overridable operators_lines}}`.
//!
//! NGINX refuses a file in which most directives stand twice. So a directive of such a block is left out if the operator's own lines have it. Each
//! directive of such a block stands on a line of its own.

use std::collections::BTreeSet;

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, Output, RenderContext, Renderable, StringOutput,
};

/// The helper of the block. Its parameter is a list of the operator's lines.
pub(super) struct Overridable;

/// Directives that may stand more than once.
const REPEATED: &[&str] = &["access_log", "deny", "error_log", "limit_conn_zone", "log_format", "set_real_ip_from"];

impl HelperDef for Overridable {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        engine: &'reg Handlebars<'reg>,
        context: &'rc Context,
        state: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let Some(ours) = helper.template() else { return Ok(()) };
        let raw = helper.param(0).and_then(|lines| lines.value().as_array());
        let said: BTreeSet<_> =
            raw.into_iter().flatten().filter_map(|lines| lines.as_str()).flat_map(outside_blocks).collect();
        if said.is_empty() {
            return ours.render(engine, context, state, out);
        }
        let mut text = StringOutput::new();
        ours.render(engine, context, state, &mut text)?;
        for line in text.into_string()?.split_inclusive('\n') {
            let name = line.split_whitespace().next().unwrap_or_default();
            if REPEATED.contains(&name) || !said.contains(name) {
                out.write(line)?;
            }
        }
        Ok(())
    }
}

/// The names of the directives that stand outside of any block: those inside say nothing about the context around it.
fn outside_blocks(lines: &str) -> Vec<String> {
    let (mut names, mut statement, mut depth) = (Vec::new(), String::new(), 0_usize);
    for c in lines.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ';' | '\n' if depth == 0 => {}
            c if depth == 0 => {
                statement.push(c);
                continue;
            }
            _ => continue,
        }
        names.extend(statement.split_whitespace().next().map(str::to_owned));
        statement.clear();
    }
    names.extend(statement.split_whitespace().next().map(str::to_owned));
    names
}

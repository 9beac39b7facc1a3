"""The reference page of all rules, docs/rules.md: `python -m dmpc.rulebook`."""

import string
from collections.abc import Iterator

from dmpc.rules import Rule, Severity, Stage, all_rules

HEAD = """\
# Rules

What a model must keep to, and what is said of one that does not. This page is generated from the
rules in the code (`make docs`); `dmpc check MODEL` reports all findings about a model at once.

A finding names its rule, the place in the user's own names, the smallest piece of the model's graph
that it is about, and the nearest thing that would be accepted. An **error** stops compilation. A
**warning** is legal but likely wrong. A **note** is what one should know. `dmpc check` exits with 1
if there is an error, with 0 otherwise. Names of rules do not change; words in angle brackets are
filled in.

## As JSON

`dmpc check MODEL --json [FILE]` writes one object:

| key | value |
|---|---|
| `schema` | 1; a change of meaning gets another number, further keys may appear |
| `model`, `target` | the file, and the target it is checked against |
| `reached` | the last level that the model could be brought to: `""` if it could not be read, `"image"` if it compiles |
| `errors`, `warnings`, `notes` | numbers of findings |
| `findings` | list of findings, errors first |

and each finding is one object:

| key | value |
|---|---|
| `rule` | name of the rule, as on this page; `""` where no rule covers it |
| `severity` | `"error"`, `"warning"` or `"note"` |
| `where` | the place in words: file, node, state or weight |
| `nodes` | names of the nodes (or states, inputs, weights) of the model that it is about |
| `message` | what is wrong |
| `nearest` | what would be accepted instead, or would help |
| `why` | what the rule means |
| `piece` | list of steps, each with `op`, `inputs`, `output` and `node`, in order of execution, the one in question last |
| `omitted` | number of steps that are left out of the middle of the piece |
"""  # noqa: E501  a row of a table is a line


def rulebook() -> str:
    """The page as Markdown."""
    rules = all_rules()
    parts = [HEAD]
    for stage in Stage:
        mine = [rule for rule in rules if rule.stage == stage]
        if mine:
            parts.append(f"## {stage}\n")
            parts += ["\n".join(_section(rule)) for rule in mine]
    return "\n".join(parts)


def _section(rule: Rule) -> Iterator[str]:
    yield f"### {rule.name}\n"
    kind = "" if rule.severity == Severity.ERROR else f"**{str(rule.severity).capitalize()}.** "
    yield f"{kind}`{_open(rule.message)}`\n"
    yield f"{rule.why}\n"
    if rule.nearest:
        yield f"Nearest: `{_open(rule.nearest)}`\n"


def _open(template: str) -> str:
    """A template with its fields in angle brackets."""
    parts = string.Formatter().parse(template)
    return "".join(
        text + ("" if field is None else f"<{field.replace('_', ' ')}>")
        for text, field, _, _ in parts
    )


if __name__ == "__main__":
    print(rulebook(), end="")

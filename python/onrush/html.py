"""Sessions and profiles as HTML, for notebooks. No scripts, no network; light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .profile import Profile, Step
    from .session import Plan, Session

STYLE = """<style>
.onrush table { border-collapse: collapse; margin: 0.4em 0; }
.onrush th, .onrush td { padding: 0.1em 0.7em; text-align: left; vertical-align: top; }
.onrush th { white-space: nowrap; }
.onrush .number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.onrush .nodes { max-width: 36em; overflow-wrap: anywhere; opacity: 0.75; }
.onrush meter { width: 8em; }
</style>"""
STEP_TITLES = ("kind", "primitives", "ONNX nodes")


def session(shown: Session, profile: Profile | None) -> str:
    parts = ["<b>onrush.Session</b>", arguments(shown)]
    plans = shown.plans
    if not plans:
        parts.append("<p>No plan yet: the first run makes one.</p>")
    milliseconds = times(profile) if profile else {}
    parts.extend(one_plan(plan, number, milliseconds) for number, plan in enumerate(plans))
    return page(parts)


def profile(shown: Profile) -> str:
    runs = shown.runs
    mean = sum(run.duration_ns for run in runs) / 1e6 / max(len(runs), 1)
    rows = [
        (
            number(f"{ms:.3f}"),
            meter(share),
            *(cells(time.step) if time else ("between steps", "", "")),
        )
        for ms, share, time in shown.rows()
    ]
    head = f"<b>{len(runs)} runs, {mean:.3f} ms each</b>"
    return page([head, table(("ms a run", "share", *STEP_TITLES), rows)])


def times(profile: Profile) -> dict[Step, float]:
    """Milliseconds that each step took at a time."""
    return {time.step: time.total_ns / 1e6 / time.executions for time in profile.steps()}


def arguments(shown: Session) -> str:
    listed = [("input", argument) for argument in shown.inputs]
    listed += [("output", argument) for argument in shown.outputs]
    rows = [
        (cell(role), cell(argument.name), cell(argument.type), cell(argument.shape_text))
        for role, argument in listed
    ]
    return table(("", "name", "type", "shape"), rows)


def one_plan(plan: Plan, number_: int, milliseconds: dict[Step, float]) -> str:
    condition = "<p>For fixed sizes.</p>"
    if plan.sizes:
        sizes = ", ".join(map(escape, plan.sizes))
        guards = "".join(f"<li><code>{escape(guard)}</code></li>" for guard in plan.guards)
        condition = f"<p>For any {sizes}.</p>"
        if guards:
            condition = (
                f"<details><summary>For {sizes} that meet {len(plan.guards)} guards</summary>"
                f"<ul>{guards}</ul></details>"
            )
    timed = any(step in milliseconds for step in plan.steps)
    head = (("ms",) if timed else ()) + STEP_TITLES
    rows = []
    for step in plan.steps:
        time = milliseconds.get(step)
        rows.append(
            ((number("" if time is None else f"{time:.3f}"),) if timed else ()) + cells(step)
        )
    whole = sum(milliseconds.get(step, 0) for step in plan.steps)
    summary = f"Plan {number_}: {len(plan.steps)} steps" + (f", {whole:.3f} ms" if timed else "")
    shown = "open" if len(plan.steps) <= 40 else ""
    return f"<details {shown}><summary>{summary}</summary>{condition}{table(head, rows)}</details>"


def cells(step: Step) -> tuple[str, str, str]:
    nodes = escape(", ".join(step.nodes))
    return cell(step.kind), cell(step.name), f"<td class='nodes'>{nodes}</td>"


def cell(value: object) -> str:
    return f"<td>{escape(str(value))}</td>"


def number(text: str) -> str:
    return f"<td class='number'>{text}</td>"


def meter(share: float) -> str:
    text = f"{share:.1%}"
    return f"<td class='number'><meter value='{share:.4f}'>{text}</meter> {text}</td>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    body = "".join(f"<tr>{''.join(map(as_cell, row))}</tr>" for row in rows)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"


def as_cell(text: str) -> str:
    return text if text.startswith("<td") else f"<td>{text}</td>"


def page(parts: Iterable[str]) -> str:
    return f"{STYLE}<div class='onrush'>{''.join(parts)}</div>"

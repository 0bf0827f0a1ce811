"""The page's section on aggregators under attack, from ``results/robustness.json``."""

from __future__ import annotations

from typing import Any

HEAD = """## Aggregators under attack

AUROC (digits: accuracy) over honest hospitals, test rows, under the attack that is worst for a defence; each
rule's own numbers are chosen on validation rows against its worst attack. **Bold**: within .03 of the mean
without attackers. B² is the measured heterogeneity of the honest updates; from the share 1/(2 + B²) of
attackers on, no rule has a guarantee (Allouah et al. 2023, arXiv:2309.13591).

![Every rule under every attack, by preset](results/robustness.png)
"""
TIMES = "milliseconds of a round"
TIMING = """### Time by rule

Milliseconds of a round on one core, without compilation: 20 hospitals, 5 local steps of logistic regression;
under an optimised attack the rule is computed for 21 strengths and once more.
"""


def section(record: dict[str, Any], machine: str) -> str:
    """Markdown; a table for each part of the benchmark."""
    lines = [HEAD, machine]
    for part, result in record.items():
        if part in ("machine", TIMES):
            continue
        grid = result["grid"]
        settings = list(result["scores"])
        lines += [
            "",
            f"### {part[0].upper()}{part[1:]}",
            "",
            f"{grid['hospitals']} hospitals, {grid['malicious']:.0%} of them malicious; {grid['rounds']} "
            f"rounds, {grid['seeds']} seeds; attacks: {', '.join(grid['attacks'][1:])}.",
            "",
            "| defence | " + " | ".join(settings) + " |",
            "| --- |" + " --- |" * len(settings),
            _row("mean, no attackers", [f"{result['scores'][s]['mean']['none']:.3f}" for s in settings]),
        ]
        worst = {(row["setting"], row["defence"]): row for row in result["worst cases"]}
        for defence in result["scores"][settings[0]]:
            cells = [_worst(worst.get((setting, defence))) for setting in settings]
            lines.append(_row(defence, cells))
        measured = [result["measured"][setting] for setting in settings]
        lines.append(_row("B²", [f"{row['b_squared']:.2f}" for row in measured]))
        lines.append(_row("1/(2 + B²)", [f"{row['bound']:.2f}" for row in measured]))
    times = record[TIMES]
    attacks = list(next(iter(times.values())))
    lines += ["", TIMING, f"| defence | {' | '.join(attacks)} |", f"| --- |{' --- |' * len(attacks)}"]
    lines += [_row(defence, [f"{row[name]:.2f}" for name in attacks]) for defence, row in times.items()]
    return "\n".join(lines) + "\n"


def _row(name: str, cells: list[str]) -> str:
    return f"| {name} | " + " | ".join(cells) + " |"


def _worst(case: dict[str, Any] | None) -> str:
    if case is None:
        return "-"
    score = f"{case['score']:.3f}"
    return f"{f'**{score}**' if case['holds'] else score} ({case['worst attack']})"

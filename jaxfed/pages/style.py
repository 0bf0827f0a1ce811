"""The style of pages: a column that fits a screen and a phone, tables that scroll in their box, and print.

Colours are told apart without red and green; boxes also say in words what they are.
"""

STYLE = """
.jaxfed-page { color-scheme: light; background: #fff; color: #1b2733; line-height: 1.5;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  overflow-wrap: anywhere; -webkit-text-size-adjust: 100%; }
.jaxfed-page main { max-width: 1000px; margin: 0 auto; padding: 16px 20px 48px; }
.jaxfed-page header { border-bottom: 3px solid #0b6e99; margin-bottom: 20px; }
.jaxfed-page :is(h1, h2, h3, h4) { line-height: 1.25; margin: 1.4em 0 .5em; }
.jaxfed-page h1 { font-size: 1.9em; margin-top: .3em; }
.jaxfed-page h2 { font-size: 1.4em; border-bottom: 1px solid #cfd8df; padding-bottom: .2em; }
.jaxfed-page h3 { font-size: 1.12em; }
.jaxfed-page h4 { font-size: 1em; }
.jaxfed-page p, .jaxfed-page ul, .jaxfed-page ol { margin: .5em 0; max-width: 75ch; }
.jaxfed-page ul, .jaxfed-page ol { padding-left: 1.5em; }
.jaxfed-page a { color: #0b5c80; }
.jaxfed-page .subtitle { color: #4a5965; margin: 0 0 .8em; }
.jaxfed-page nav { background: #f4f7f9; border: 1px solid #d9e1e7; border-radius: 6px; padding: .5em 1em;
  margin: 1.2em 0; }
.jaxfed-page nav > ol { columns: 18em; column-gap: 2em; }
.jaxfed-page nav li { break-inside: avoid; }
.jaxfed-page figure { margin: 1.1em 0; }
.jaxfed-page figcaption { color: #4a5965; font-size: .9em; max-width: 80ch; margin: .4em 0; }
.jaxfed-page .scroll { overflow-x: auto; max-width: 100%; }
.jaxfed-page svg { display: block; max-width: 100%; height: auto; }
.jaxfed-page svg text { font-family: "DejaVu Sans", Verdana, "Segoe UI", system-ui, sans-serif !important; }
.jaxfed-page table { border-collapse: collapse; font-size: .9em; font-variant-numeric: tabular-nums;
  overflow-wrap: normal; }
.jaxfed-page th, .jaxfed-page td { padding: .3em .7em; border-bottom: 1px solid #e3e9ed; text-align: left;
  vertical-align: top; font-weight: normal; unicode-bidi: isolate; max-width: 34em; }
.jaxfed-page thead th { border-bottom: 2px solid #8fa1ad; font-weight: 600; vertical-align: bottom; }
.jaxfed-page tbody th { position: sticky; left: 0; background: #fff; }
.jaxfed-page .gt_right { text-align: right; white-space: nowrap; }
.jaxfed-page .gt_center { text-align: center; }
.jaxfed-page .gt_title { font-weight: 600; }
.jaxfed-page .gt_group_heading { background: #f4f7f9; font-weight: 600; }
.jaxfed-page .box { border: 1px solid #cfd8df; border-left: 6px solid #6b7c88; border-radius: 4px;
  padding: .4em 1em .6em; margin: 1em 0; background: #fafbfc; }
.jaxfed-page .box > :first-child { margin-top: .3em; }
.jaxfed-page .box.summary { border-left-color: #0b6e99; background: #eff6fa; }
.jaxfed-page .box.caution { border-left-color: #c98b1b; background: #fdf7ea; }
.jaxfed-page .box.problem { border-left-color: #b3243b; background: #fcf0f2; }
.jaxfed-page .code { display: flex; gap: .7em; align-items: baseline; margin: .35em 0; }
.jaxfed-page .code > span { flex: 0 0 7.5em; color: #4a5965; font-size: .85em; }
.jaxfed-page pre { flex: 1 1 auto; min-width: 0; margin: 0; padding: .3em .6em; background: #eef1f4;
  border-radius: 4px; white-space: pre-wrap; font: .86em/1.45 ui-monospace, Menlo, Consolas, monospace; }
@media (max-width: 600px) {
  .jaxfed-page { font-size: 15px; }
  .jaxfed-page main { padding: 10px 12px 32px; }
  .jaxfed-page .code { display: block; }
  .jaxfed-page th, .jaxfed-page td { padding: .3em .45em; max-width: 18em; }
}
@page { size: A4; margin: 15mm; }
@media print {
  .jaxfed-page { font-size: 10.5pt; }
  .jaxfed-page main { max-width: none; padding: 0; }
  .jaxfed-page :is(h1, h2, h3, h4) { break-after: avoid; }
  .jaxfed-page :is(figure:not(.table), .box, tr, .code) { break-inside: avoid; }
  .jaxfed-page figcaption { break-after: avoid; }
  .jaxfed-page .scroll { overflow: visible; }
  .jaxfed-page table { font-size: .8em; }
  .jaxfed-page td { overflow-wrap: anywhere; }
  .jaxfed-page .wide table { font-size: .68em; }
  .jaxfed-page .wide :is(th, td) { padding: .3em; }
  .jaxfed-page th.gt_right { white-space: normal; }
  .jaxfed-page svg { min-width: 0 !important; max-height: 240mm; }
  .jaxfed-page * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""

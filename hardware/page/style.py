"""Style sheet of the report. Colours are those of plots.py; wide tables scroll inside their own box."""

STYLE = """
:root { color-scheme: light dark; --paper:#ffffff; --wash:#f5f7f9; --ink:#1f2733; --faint:#5b6675; --line:#e3e7ec;
  --good:#0f766e; --bad:#b42318; --mixed:#b45309; --good-wash:#ecfaf7; --bad-wash:#fdf0ee; --mixed-wash:#fdf5e7; }
@media (prefers-color-scheme: dark) { :root { --paper:#171b21; --wash:#1e242c; --ink:#e4e8ee; --faint:#9aa5b4;
  --line:#2c333d; --good:#2dd4bf; --bad:#f97066; --mixed:#f59e0b; --good-wash:#12312f; --bad-wash:#3a1d1b;
  --mixed-wash:#36290f; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI",
  Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 66rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .35rem; letter-spacing: -.015em; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 3rem 0 .4rem; letter-spacing: -.01em; }
p { margin: .4rem 0 .8rem; max-width: 46rem; }
.faint, figcaption, small { color: var(--faint); }
.lead { margin-bottom: 1.6rem; overflow-wrap: anywhere; }
.cards { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr));
  margin: 1rem 0; }
.card { border: 1px solid var(--line); border-radius: .7rem; padding: .9rem 1rem; background: var(--wash); }
.card h3 { margin: 0 0 .3rem; font-size: .78rem; text-transform: uppercase; letter-spacing: .06em; color: var(--faint);
  font-weight: 600; }
.card p { margin: 0; } .card .answer { font-size: 1.25rem; font-weight: 650; margin-bottom: .25rem; }
.card.good { background: var(--good-wash); border-color: transparent; } .good .answer { color: var(--good); }
.card.bad { background: var(--bad-wash); border-color: transparent; } .bad .answer { color: var(--bad); }
.card.mixed { background: var(--mixed-wash); border-color: transparent; } .mixed .answer { color: var(--mixed); }
.tiles { display: grid; gap: .4rem 1.1rem; grid-template-columns: repeat(auto-fit, minmax(7.4rem, 1fr));
  margin: 1.4rem 0 0; padding: 0; }
.tiles div { border-top: 2px solid var(--line); padding-top: .45rem; }
.tiles dt { color: var(--faint); font-size: .82rem; } .tiles dd { margin: 0; font-size: 1.2rem; font-weight: 620; }
.tiles dd small { display: block; font-weight: 400; font-size: .76rem; line-height: 1.35; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: .6rem; margin: .8rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .86rem; font-variant-numeric: tabular-nums; }
th, td { padding: .42rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
tr:last-child > td { border-bottom: 0; }
thead th { font-weight: 600; color: var(--faint); font-size: .78rem; vertical-align: bottom; background: var(--wash); }
.text, th.long { text-align: left; }
td.long { white-space: normal; min-width: 15rem; text-align: left; color: var(--faint); }
tr.total td { font-weight: 650; border-top: 2px solid var(--line); }
h3 { font-size: 1rem; margin: 1.4rem 0 .2rem; }
details { margin: .6rem 0; } summary { cursor: pointer; color: var(--faint); font-size: .9rem; }
figure { margin: 1rem 0; } figure .plot { overflow-x: auto; border: 1px solid var(--line); border-radius: .6rem;
  background: var(--paper); }
figure img { display: block; width: 100%; min-width: 36rem; height: auto; padding: .6rem; }
figcaption { font-size: .86rem; margin-top: .4rem; max-width: 46rem; }
.tag { display: inline-block; font-size: .74rem; font-weight: 600; padding: .05rem .5rem; border-radius: 1rem;
  background: var(--wash); color: var(--faint); white-space: nowrap; }
.tag.good { background: var(--good-wash); color: var(--good); }
.tag.bad { background: var(--bad-wash); color: var(--bad); }
.tag.mixed { background: var(--mixed-wash); color: var(--mixed); }
.sources { color: var(--faint); font-size: .82rem; padding-left: 1.6rem; margin: .4rem 0 1rem; max-width: 52rem; }
code { font: .92em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
footer { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1rem; font-size: .84rem;
  color: var(--faint); }
@media (max-width: 40rem) { main { padding: 1.4rem .9rem 3rem; } h1 { font-size: 1.4rem; } }
@media print { :root { --paper:#fff; --wash:#fff; --ink:#000; --faint:#444; --line:#bbb; } body { font-size: 10pt; }
  main { max-width: none; padding: 0; } h2 { break-after: avoid; } figure, .card, tr { break-inside: avoid; }
  .scroll, figure .plot { overflow: visible; border: 0; } figure img { min-width: 0; } table { font-size: 7.5pt; }
  th, td { padding: .2rem .3rem; } td.long { min-width: 8rem; } }
"""

/** The page's style. Colours are pairs of light and dark; each difference of colour is one of shape, pattern or text as well. */

export const STYLE = `
:root {
  color-scheme: light dark;
  --paper: light-dark(#ffffff, #11151b);
  --panel: light-dark(#f5f7f9, #181e26);
  --ink: light-dark(#1c2229, #e4e8ee);
  --soft: light-dark(#57606b, #9aa6b4);
  --rule: light-dark(#e1e5ea, #262e39);
  --edge: light-dark(#8c96a3, #66717f);
  --accent: light-dark(#0b5cad, #79b8ff);
  --held: light-dark(#dbe7f6, #21344d);
  --command: light-dark(#d9dde3, #333d4a);
  --model: light-dark(#2f6cc4, #6ea8f5);
  --read: light-dark(#5f6b7a, #a3afbe);
  --edit: light-dark(#b4540a, #f0a35e);
  --shell: light-dark(#6d3fb8, #b79af0);
  --done: light-dark(#1a6f35, #5cc47c);
  --error: light-dark(#b3241c, #ff8f85);
  --wait: light-dark(#8a5d00, #e3b341);
}
:root[data-theme='light'] { color-scheme: light }
:root[data-theme='dark'] { color-scheme: dark }
* { box-sizing: border-box }
body {
  margin: 0 auto; max-width: 1600px; padding: 20px 24px 40px;
  background: var(--paper); color: var(--ink);
  font: 14px/1.5 "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
h1 { margin: 0; font-size: 20px; line-height: 1.3; font-weight: 600; overflow-wrap: anywhere }
h2 { margin: 0 0 8px; font-size: 15px; font-weight: 600 }
h3 { margin: 16px 0 4px; font-size: 13px; font-weight: 600 }
p { margin: 4px 0 }
section { margin-top: 22px }
.soft { color: var(--soft); font-size: 13px }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }
[hidden] { display: none !important }
bdi, dd, li, pre, td, th { unicode-bidi: isolate; overflow-wrap: anywhere }
.figures { display: flex; flex-wrap: wrap; gap: 8px 28px; margin: 12px 0 0 }
.figures div { display: flex; flex-direction: column-reverse }
.figures dt { color: var(--soft); font-size: 12px }
.figures dd { margin: 0; font-size: 19px; line-height: 1.2; font-variant-numeric: tabular-nums }
.findings ul { margin: 0; padding-left: 18px }
.controls { display: flex; flex-wrap: wrap; align-items: end; gap: 8px 12px; margin-bottom: 10px }
.controls output { margin-left: auto; line-height: 30px }
.field label { display: block; color: var(--soft); font-size: 12px }
input, select, button {
  height: 30px; padding: 0 10px; border: 1px solid var(--edge); border-radius: 5px;
  background: var(--paper); color: inherit; font: inherit; font-size: 13px;
}
select { max-width: 180px }
input[type='search'] { width: 190px }
button { cursor: pointer }
button:hover { background: var(--panel) }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px }
.zoom { display: flex; gap: 4px }
.patterns { position: absolute }
.picture { background: var(--panel); border: 1px solid var(--rule); border-radius: 6px; overflow: hidden }
.picture svg, .legend svg { display: block }
.scroller { background: var(--paper); max-height: min(62vh, 680px); overflow: hidden auto; border-top: 1px solid var(--rule); scrollbar-gutter: stable; scrollbar-width: thin }
.scroller:has(.rows:focus-visible) { outline: 2px solid var(--accent); outline-offset: -2px }
.rows { outline: none; cursor: grab; touch-action: pan-y; user-select: none }
.rows:active { cursor: grabbing }
svg text { fill: var(--ink); font: 12px "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; unicode-bidi: isolate }
svg .head { font-weight: 600; fill: var(--soft) }
svg .tick, svg .ticks text { fill: var(--soft); font-size: 11px; font-variant-numeric: tabular-nums }
.ticks path, .ticks line { stroke: var(--edge); fill: none }
.ticks .domain { display: none }
.grid { stroke: var(--rule); fill: none }
.back { fill: transparent }
.line { stroke: var(--rule); fill: none }
.row:not(.group):hover .back { fill: light-dark(#0b5cad0d, #79b8ff14) }
.row[data-active] .back { fill: light-dark(#0b5cad14, #79b8ff1f) }
.rows:focus-visible .row[data-active] .back { stroke: var(--accent); stroke-width: 2 }
.row.group .back { fill: var(--panel) }
.row.group .label, .row.session .label { font-weight: 600 }
.row .number, .row .end { font-variant-numeric: tabular-nums }
.row .number { fill: var(--soft) }
.row.done .end { fill: var(--done) }
.row.error .end { fill: var(--error) }
.beyond { stroke: var(--edge); stroke-width: 1.5; fill: none }
.cost-bar { fill: var(--edge) }
.phase.queued { fill: var(--paper); stroke: var(--edge); stroke-dasharray: 2 2 }
.phase.working { fill: var(--held) }
.row.command .phase.working { fill: var(--command); stroke: var(--edge); stroke-width: .75 }
.phase.permission { fill: url(#permission); stroke: var(--wait) }
.phase.retry { fill: url(#retry); stroke: var(--error) }
.phase.unknown { fill: url(#unknown); stroke: var(--edge); stroke-dasharray: 4 2 }
.permission-back { fill: light-dark(#fff3d6, #3a2f12) }
.permission-line { stroke: var(--wait); stroke-width: 1.5 }
.retry-back { fill: light-dark(#fdecea, #3d1d1b) }
.retry-line { fill: var(--error) }
.unknown-back { fill: var(--paper) }
.unknown-line { stroke: var(--edge); stroke-width: 1 }
.model { fill: var(--model) }
.tool.read { fill: var(--read) }
.tool.edit { fill: var(--edit) }
.tool.shell { fill: var(--shell) }
.tool.other { fill: var(--ink) }
.failed-tool { stroke: var(--error); stroke-width: 1.5; fill: none }
.mark { fill: var(--ink); stroke: var(--paper); stroke-width: .75 }
.mark.noticed { fill: var(--paper); stroke: var(--ink); stroke-width: 1.25 }
.end-shape { fill: none; stroke: var(--ink); stroke-width: 2 }
.row.done .end-shape { stroke: var(--done); stroke-width: 2.5 }
.row.error .end-shape { stroke: var(--error) }
.dependencies { fill: none; stroke: var(--edge); stroke-width: 1.25; pointer-events: none }
.dependencies.active { stroke: var(--accent); stroke-width: 2 }
.read-line { stroke: var(--soft); stroke-dasharray: 1 3; fill: none }
.area { fill: var(--held) }
.outline { fill: none; stroke: var(--model); stroke-width: 1.5 }
.limit { fill: none; stroke: var(--ink); stroke-dasharray: 5 3 }
.legend { display: flex; flex-wrap: wrap; gap: 3px 18px; margin: 10px 0 0; padding: 0; list-style: none; color: var(--soft); font-size: 12px }
.legend li { display: flex; align-items: center; gap: 6px }
.tooltip {
  position: fixed; z-index: 2; max-width: min(440px, 90vw); padding: 8px 10px; pointer-events: none;
  border: 1px solid var(--edge); border-radius: 5px; background: var(--paper); color: var(--ink);
  box-shadow: 0 3px 12px #0003; font-size: 12px; overflow-wrap: anywhere; unicode-bidi: isolate;
}
.title { display: flex; align-items: center; gap: 12px; margin-bottom: 8px }
.title h2 { margin: 0 }
.csv { display: block; width: 100%; color: inherit; background: var(--paper) }
.table { overflow-x: auto; border: 1px solid var(--rule); border-radius: 6px }
table { width: 100%; border-collapse: collapse; font-size: 13px }
th, td { padding: 4px 10px; border-top: 1px solid var(--rule); text-align: left; font-weight: 400 }
thead th { border: 0; padding: 2px 4px; background: var(--panel) }
thead button { width: 100%; padding: 0 6px; border-color: transparent; background: none; color: var(--soft); font-weight: 600; text-align: inherit; white-space: nowrap }
th[aria-sort] button { color: var(--ink) }
th[aria-sort='ascending'] button::after { content: ' ▲'; font-size: 9px }
th[aria-sort='descending'] button::after { content: ' ▼'; font-size: 9px }
.number { text-align: right; font-variant-numeric: tabular-nums }
td.number, td.end { white-space: nowrap }
td.end.done { color: var(--done) }
td.end.error { color: var(--error) }
tbody th button, .link { height: auto; padding: 0; border: 0; background: none; color: var(--accent); text-align: start; overflow-wrap: anywhere }
tbody th { min-width: 180px }
tbody th button:hover, .link:hover { text-decoration: underline; background: none }
.link { margin-right: 8px; text-decoration: underline }
tbody tr:hover { background: var(--panel) }
tfoot th, tfoot td { border-top: 1px solid var(--edge); font-weight: 600 }
.details {
  position: fixed; inset: 0 0 0 auto; width: min(620px, 100%); height: 100%; max-width: none; max-height: none; margin: 0; padding: 0;
  border: 0; border-left: 1px solid var(--edge); background: var(--paper); color: var(--ink);
}
.details::backdrop { background: #0005 }
.details .content { padding: 18px 22px }
.details header { display: flex; align-items: start; justify-content: space-between; gap: 12px }
.details h2 { font-size: 17px; overflow-wrap: anywhere; margin: 0 }
.details dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 12px 0 }
.details dt { color: var(--soft) }
.details dd { margin: 0 }
.events { margin: 0; padding: 0; list-style: none; font-size: 13px }
.events time { display: inline-block; min-width: 64px; color: var(--soft); font-variant-numeric: tabular-nums }
pre {
  margin: 0; padding: 10px 12px; max-height: 42vh; overflow: auto; border-radius: 5px; background: var(--panel);
  font: 12px/1.5 ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; white-space: pre-wrap; unicode-bidi: plaintext;
}
@media (max-width: 900px) {
  body { padding: 14px 14px 30px }
  th, td { padding: 4px 6px }
  input[type='search'] { width: 150px }
}
@page { size: A4; margin: 11mm }
@media print {
  :root { color-scheme: light !important }
  body { max-width: none; padding: 0; font-size: 11px; print-color-adjust: exact; -webkit-print-color-adjust: exact }
  .controls > :not(output), .keys, .title button, .title output, .tooltip, .details { display: none !important }
  .picture { border: 0; overflow: visible }
  .scroller { max-height: none; overflow: visible; outline: none !important }
  .rows { display: none !important }
  .paper svg { break-inside: avoid }
  .picture svg { width: 100%; height: auto }
  .row .back { fill: transparent !important; stroke: none !important }
  .row.group .back { fill: var(--panel) !important }
  .table { overflow: visible; border: 0 }
  table { font-size: 10px }
  thead { display: table-header-group }
  tr { break-inside: avoid }
  th, td { padding: 2px 5px }
  tbody th { min-width: 0 }
  tbody th button, thead button { color: inherit; font-size: inherit; height: auto; padding: 0 }
  h2 { break-after: avoid }
}
`

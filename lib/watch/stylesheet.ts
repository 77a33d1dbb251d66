import { colorRules } from "../report/style.js";

/** The styles of the page. Its colors are those of reports. */
export const stylesheet = `${colorRules(":root")}
:root{
  color-scheme:light dark;
  --panel:color-mix(in srgb,var(--surface) 97%,var(--ink));
  --hover:color-mix(in srgb,var(--surface) 93%,var(--ink));
  --focus:var(--loss);
  /* A scale with the ratio 1.2 around 14 px. */
  --small:12px;--text:14px;--large:17px;--title:20px;
}
*{box-sizing:border-box}
body{margin:0;background:var(--surface);color:var(--ink);font:var(--text)/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
h1,h2,h3,p,figure,table,dl,dd{margin:0}
h1{font-size:var(--title);font-weight:650;letter-spacing:-.01em}
h2{font-size:var(--large);font-weight:650}
h3{font-size:var(--text);font-weight:600}
.thin{font-weight:400;color:var(--muted)}
.muted{color:var(--muted)}
.hidden{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
[hidden]{display:none!important}
:focus-visible{outline:2px solid var(--focus);outline-offset:2px;border-radius:3px}
.skip{position:absolute;left:-999px;top:8px;background:var(--surface);padding:6px 12px;z-index:9}
.skip:focus{left:16px}
.bar{display:flex;flex-wrap:wrap;align-items:baseline;gap:4px 16px;padding:14px 24px;border-bottom:1px solid var(--line)}
.path{color:var(--muted);overflow-wrap:anywhere}
.connection{margin-left:auto;font-size:var(--small);color:var(--muted);display:flex;align-items:center;gap:6px}
.connection::before{content:"";width:8px;height:8px;border-radius:50%;background:var(--muted)}
.connection.live::before{background:var(--mark)}
.connection.lost{color:var(--bad)}
.connection.lost::before{background:var(--bad)}
main{padding:20px 24px 64px;display:grid;gap:32px;max-width:1680px;margin:0 auto;grid-template-columns:minmax(0,1fr)}
.heading{display:flex;flex-wrap:wrap;align-items:baseline;gap:8px 16px;margin-bottom:10px}
.controls{display:flex;flex-wrap:wrap;align-items:center;gap:8px 14px;margin-left:auto;font-size:13px}
button,input,select,.choice span{font:inherit;font-size:13px;color:inherit}
button,select,input[type=search],input[type=number]{height:30px;border:1px solid var(--line);border-radius:6px;background:var(--surface);padding:0 10px}
button{cursor:pointer}
button:hover:not(:disabled){background:var(--hover)}
button:disabled{color:var(--muted);opacity:.6;cursor:default}
input[type=search]{width:210px}
input[type=number]{width:92px;padding:0 6px;font-variant-numeric:tabular-nums}
input[type=range]{width:96px;accent-color:var(--loss)}
input[type=checkbox]{accent-color:var(--loss)}
.choice{display:flex;border:1px solid var(--line);border-radius:6px;overflow:hidden}
.choice input{position:absolute;opacity:0;pointer-events:none}
.choice span{display:block;padding:4px 12px;cursor:pointer}
.choice input:checked+span{background:var(--hover);font-weight:600}
.choice label:focus-within{outline:2px solid var(--focus);outline-offset:-2px;border-radius:6px}
.check,.slider,.zoom,.zoom label{display:flex;align-items:center;gap:6px}
.slider output{min-width:3.2em;font-variant-numeric:tabular-nums;color:var(--muted)}
.scroll{overflow:auto;max-height:44vh;border:1px solid var(--line);border-radius:8px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
.scroll thead th{position:sticky;top:0;background:var(--panel);z-index:2;box-shadow:0 1px 0 var(--line);white-space:nowrap}
th,td{padding:6px 10px;text-align:left;vertical-align:baseline}
thead th{font-size:var(--small);font-weight:600;color:var(--muted)}
tbody tr+tr>*{border-top:1px solid color-mix(in srgb,var(--line) 55%,transparent)}
tbody tr:hover>*{background:var(--hover)}
tbody tr.current>*{background:color-mix(in srgb,var(--loss) 9%,var(--surface))}
.number{text-align:right;white-space:nowrap}
th button{border:0;background:none;padding:0;height:auto;font:inherit;color:inherit}
th button:hover{text-decoration:underline;background:none!important}
th[aria-sort] button::after{content:" ↓"}
th[aria-sort=ascending] button::after{content:" ↑"}
#run-table th[scope=row]{font-weight:600;white-space:nowrap;max-width:280px;overflow:hidden;text-overflow:ellipsis}
#run-table th[scope=row] button{font-weight:600;color:var(--ink)}
.pick{display:inline-flex;align-items:center;gap:8px;cursor:pointer}
.swatch{width:26px;height:10px;display:block;flex:none}
.changes{color:var(--muted);min-width:180px;max-width:520px;overflow-wrap:anywhere}
.changes b{font-weight:500;color:var(--ink)}
.changes span+span::before{content:" · "}
.badge{display:inline-flex;align-items:center;gap:6px;font-size:var(--small);white-space:nowrap}
.badge::before{content:"";width:8px;height:8px;border-radius:50%;border:1.5px solid var(--muted)}
.badge.running{color:var(--mark);font-weight:600}
.badge.running::before{background:var(--mark);border-color:var(--mark)}
.badge.finished::before{background:var(--muted);border-color:var(--muted)}
.badge.failed,.badge.diverged{color:var(--bad);font-weight:600}
.badge.failed::before,.badge.diverged::before{background:var(--bad);border-color:var(--bad);border-radius:1px;transform:rotate(45deg)}
.badge.stopped,.badge.interrupted{color:var(--warn)}
.badge.stopped::before,.badge.interrupted::before{border-color:var(--warn);border-radius:1px}
.meter{display:inline-block;width:46px;height:4px;border-radius:2px;background:var(--line);margin-left:8px;vertical-align:middle;overflow:hidden}
.meter i{display:block;height:100%;background:var(--muted)}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,440px),1fr));gap:20px}
.spaced{margin-top:20px}
.figure{border:1px solid var(--line);border-radius:8px;padding:12px 14px 8px;min-width:0;background:var(--surface)}
.figure figcaption{display:flex;flex-wrap:wrap;align-items:baseline;gap:2px 10px;min-height:22px}
.figure .readout{font-size:var(--small);color:var(--muted);font-variant-numeric:tabular-nums;margin-left:auto;text-align:right}
.figure .plot{height:230px;margin:4px -6px 0 -6px;touch-action:pan-y}
.figure details{font-size:var(--small);color:var(--muted)}
.figure summary,.more summary{cursor:pointer;padding:4px 0;width:fit-content;font-size:var(--small)}
.figure details .scroll{max-height:220px;border-radius:6px;color:var(--ink)}
.figure details th,.figure details td{padding:3px 8px}
.uplot{font-family:inherit}
.u-select{background:color-mix(in srgb,var(--loss) 16%,transparent)}
.u-hz .u-cursor-x,.u-hz .u-cursor-y,.u-vt .u-cursor-x,.u-vt .u-cursor-y{border-color:var(--muted)}
.empty{max-width:640px;padding:40px 0}
.empty h2{margin-bottom:8px}
.empty p{margin-bottom:12px;color:var(--muted)}
.empty pre,.sample pre,pre.error{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;background:var(--panel);border:1px solid var(--line);border-radius:8px;padding:12px 14px;margin:0 0 12px;white-space:pre-wrap;overflow-wrap:anywhere}
pre.error{border-color:var(--bad);color:var(--bad)}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,360px),1fr));gap:28px;align-items:start}
.columns h3{margin-bottom:4px}
.columns>div>p.muted{font-size:13px}
.facts{display:grid;grid-template-columns:auto minmax(0,1fr);gap:4px 16px;font-size:13px}
.facts dt{color:var(--muted)}
.facts dd{overflow-wrap:anywhere;font-variant-numeric:tabular-nums}
.confusion{width:auto;font-size:var(--small)}
.confusion th,.confusion td{padding:0;min-width:28px;height:26px;text-align:center}
.confusion tbody tr+tr>*{border-top:0}
.confusion th[scope=row]{text-align:right;padding-right:8px;white-space:nowrap;max-width:130px;overflow:hidden;text-overflow:ellipsis}
.confusion thead th{padding:0 3px 4px;max-width:60px;overflow:hidden;text-overflow:ellipsis}
.confusion td{border-radius:3px}
.matrix{border:0;max-height:none;margin:10px 0;padding:2px;width:fit-content;max-width:100%}
#detail{display:grid;gap:20px;grid-template-columns:minmax(0,1fr)}
#detail .heading{margin:0}
.worst{display:grid;grid-template-columns:repeat(auto-fill,minmax(88px,1fr));gap:14px;padding:0;margin:12px 0 0;list-style:none}
.worst img{width:100%;aspect-ratio:1;object-fit:contain;image-rendering:pixelated;background:var(--panel);border-radius:6px;display:block}
.worst p{font-size:var(--small);margin-top:4px;overflow-wrap:anywhere}
.sample{margin-bottom:10px}
.sample .muted{font-size:var(--small);margin-bottom:4px}
.sample pre{margin:0}
.sample mark{background:none;color:var(--muted)}
a{color:var(--loss)}
@media (max-width:720px){
  .bar{padding:12px 16px}
  main{padding:16px 16px 48px;gap:24px}
  .controls{margin-left:0;width:100%}
  input[type=search]{width:100%}
  .controls .field{flex:1 1 100%}
  .optional{display:none}
  th,td{padding:6px 8px}
  .changes{white-space:nowrap}
  .meter{display:none}
  .figure{padding:10px 10px 6px}
  .figure .plot{height:200px}
}
@media (prefers-reduced-motion:no-preference){.badge.running::before{animation:pulse 2s ease-in-out infinite}@keyframes pulse{50%{opacity:.35}}}
@media (forced-colors:active){.swatch,.meter{forced-color-adjust:none}}
`;

# ruff: noqa: E501 (style sheets and scripts read better unwrapped)
"""The look: our tokens for the viewer's theme, and the one style sheet that makes the frame's widgets dense.

Tokens are custom properties of the root, so they also reach into the components' shadow roots.
"""

import streamlit as st

#: token: its value in the light theme, in the dark one
TOKENS = {
    "bg": ("#ffffff", "#10161d"),
    "panel": ("#f4f6f8", "#18212a"),
    "line": ("#dce1e6", "#2a3540"),
    "line2": ("#ebeef1", "#1e2832"),
    "band": ("#e9edf1", "#1d2731"),
    "ink": ("#18212c", "#e4e9ee"),
    "ink2": ("#55616e", "#a0acb8"),
    "ink3": ("#66717c", "#84909c"),
    "accent": ("#0b5cad", "#6db3f2"),
    "accentbg": ("#e7f0f9", "#15283a"),
    "onaccent": ("#ffffff", "#10161d"),
    "run": ("#0072b2", "#56b4e9"),
    "proc": ("#3d9bd1", "#2b86bd"),
    "queued": ("#66717c", "#94a1ae"),
    "hold": ("#8f5500", "#f0b84a"),
    "hold-tint": ("#fdf3dd", "#2c2412"),
    "hold-mark": ("#e69f00", "#e69f00"),
    "fail": ("#b84300", "#ff8f57"),
    "fail-tint": ("#fdeee6", "#33190d"),
    "stop": ("#96386f", "#e294c4"),
    "stop-tint": ("#f9ecf4", "#2e1a28"),
    "done": ("#17734f", "#55c79c"),
}

SHEET = """
html,body,.stApp{font-variant-numeric:tabular-nums}
[data-testid=stHeader]{background:transparent;height:2.4rem;min-height:0;pointer-events:none}
[data-testid=stHeader] button{pointer-events:auto}
[data-testid=stMainBlockContainer]{padding:.7rem 20px 1.5rem}
[data-testid=stMain] [data-testid=stVerticalBlock]{gap:10px}
[data-stale=true]{opacity:1!important}
[data-testid=stElementContainer]:has(>[data-testid=stHtml]>style:only-child){display:none}
[data-testid=stHtml] p{margin:0}

/* controls: buttons 28, inputs 30 */
[data-testid^=stBaseButton-]{min-height:28px;padding:0 10px;border-radius:4px;line-height:1.2}
[data-testid^=stBaseButton-] p{font-size:13px}
[data-testid=stBaseButton-primary],[data-testid=stBaseButton-primary] p{color:var(--d-onaccent)}
[data-testid=stBaseButton-tertiary]{padding:0;min-height:20px}
.stApp a.d-button{display:block;box-sizing:border-box;min-height:28px;padding:0 10px;border:1px solid var(--d-line);border-radius:4px;background:var(--d-bg);color:var(--d-ink);font-size:13px;line-height:26px;text-align:center;text-decoration:none;white-space:nowrap}
.stApp a.d-button:hover{color:var(--d-accent);border-color:var(--d-accent)} .stApp a.d-button:focus-visible{outline:2px solid var(--d-accent);outline-offset:1px} .stApp a.d-button:active{color:var(--d-onaccent);background:var(--d-accent)}
.st-key-finder a.d-button{min-height:30px;line-height:28px}
[data-testid=stTextInputRootElement]{height:30px;min-height:30px;border:1px solid var(--d-line);background:var(--d-bg)}
[data-testid=stTextInput] input{font-size:13px;padding:0 10px}
[data-testid=stTextInput] [data-testid=InputInstructions]{display:none}
[data-testid=stSelectbox] :is([role=combobox],button,input){font-size:13px}
[data-testid=stSelectbox] [role=group]{min-height:30px;height:30px;border-color:var(--d-line)}

/* the menu: 212 wide, items 25 high */
[data-testid=stSidebar]{width:212px!important;min-width:0}
[data-testid=stSidebar][aria-expanded=true]{min-width:212px!important}
[data-testid=stSidebarHeader]{height:auto;min-height:0;padding:6px 8px 0;margin:0;position:absolute;right:0;z-index:2}
[data-testid=stSidebarContent]{padding:0;scrollbar-gutter:auto}
[data-testid=stSidebarUserContent]{padding:12px 10px}
[data-testid=stSidebar] [data-testid=stVerticalBlock]{gap:1px}
[data-testid=stSidebar] [data-testid=stElementContainer]:has([data-testid=stPageLink]){margin:0}
[data-testid=stPageLink-NavLink]{height:25px;min-height:25px;margin:0;padding:0 8px;border-radius:4px}
[data-testid=stPageLink-NavLink] p{font-size:13px;color:var(--d-ink)}
[data-testid=stPageLink-NavLink][aria-current=page]{background:var(--d-band)}
[data-testid=stPageLink-NavLink][aria-current=page] p{font-weight:600}
.d-mark{display:flex;align-items:center;gap:10px;padding:2px 8px 10px;font-size:16px;font-weight:600}
.d-mark i{display:grid;gap:3px;justify-items:center;width:16px}
.d-mark i b{display:block;height:2.5px;border-radius:2px;background:var(--d-accent)}
.d-says{margin:0 0 4px;padding-left:18px;color:var(--d-ink2)}
.d-account{margin-top:12px;padding:8px 8px 0;border-top:1px solid var(--d-line)}
.d-account small{display:block;font-size:12px;color:var(--d-ink2);padding-bottom:2px}
.d-grants{font-size:13px;line-height:18px} .d-grants b{font-weight:600} .d-grants li{font-size:13px} .d-grants :is(b,li){overflow-wrap:anywhere} .d-grants ul{margin:4px 0 10px;padding-left:18px}
.d-grants button{font:inherit;font-size:13px;color:var(--d-accent);background:none;border:0;padding:0;cursor:pointer}
.st-key-account button{min-height:0;padding:0 8px;color:var(--d-accent)!important} .st-key-account button p{font-size:12px}
.st-key-foot{margin-top:12px;padding-top:6px;border-top:1px solid var(--d-line)} .st-key-foot+* .d-account,.st-key-foot~* .d-account{margin-top:0;border-top:0}
.d-section{font-size:12px;color:var(--d-ink3);padding:10px 8px 3px}

/* the head row */
.st-key-head{border-bottom:1px solid var(--d-line);padding-bottom:8px;min-height:38px}
.stApp h1.d-title{font-size:18px;line-height:24px;font-weight:600;white-space:nowrap;padding:0;margin:0}
.st-key-head [data-testid=stElementContainer]:has(.d-shown){flex:1 1 4rem;min-width:0}
.d-shown{color:var(--d-ink2);white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.d-live{font-size:12px;color:var(--d-ink2);white-space:nowrap}
.d-live::before{content:"";display:inline-block;width:7px;height:7px;border-radius:50%;background:var(--d-done);margin-right:7px}
.d-asof{font-size:12px;color:var(--d-ink2);white-space:nowrap}
.d-stale{font-size:12px;font-weight:600;white-space:nowrap;color:var(--d-hold);background:var(--d-hold-tint);padding:3px 8px;border-radius:3px}
.d-stale::before{content:"◆";color:var(--d-hold-mark);margin-right:6px}
.d-unheard{display:flex;flex-direction:row-reverse;align-items:center;gap:8px} .d-unheard .d-stale{min-width:0;overflow:hidden;text-overflow:ellipsis}
.st-key-head:has(.d-unheard){flex-wrap:nowrap!important} .st-key-head [data-testid=stElementContainer]:has(.d-unheard){min-width:0} .st-key-heard{position:absolute}
.d-unheard button{flex:none;font:inherit;font-size:13px;color:var(--d-ink);background:var(--d-bg);border:1px solid var(--d-line);border-radius:4px;height:28px;padding:0 10px;cursor:pointer}
.d-unheard button:hover{border-color:var(--d-accent);color:var(--d-accent)} .d-unheard button:focus-visible{outline:2px solid var(--d-accent);outline-offset:1px}
.d-readonly{font-size:12px;line-height:17px;color:var(--d-ink2)}
.d-foot{font-size:12px;line-height:17px;color:var(--d-ink2)}

/* holds in force */
.st-key-holds{background:var(--d-hold-tint);border-radius:3px;padding:3px 10px;min-height:28px}
.st-key-holds [data-testid=stElementContainer]:has([data-testid=stHtml]){flex:1 1 16rem;min-width:0}
.d-holds{font-size:13px;line-height:18px;padding-left:16px;position:relative} .d-holds span{color:var(--d-ink2)}
.d-holds::before{content:"";position:absolute;left:0;top:4px;box-sizing:border-box;width:9px;height:10px;border:solid var(--d-hold);border-width:0 3px}
.st-key-holds button p{color:var(--d-accent)}

/* the way to Help */
.stApp a.d-help::before{content:"?"}
.stApp a.d-help{margin-left:6px;padding:0 4px;border:1px solid var(--d-line);border-radius:8px;font-size:11px;font-weight:400;vertical-align:1px;color:var(--d-ink3);text-decoration:none} /* in line: it begins no line */
.stApp a.d-help:hover{color:var(--d-accent);border-color:var(--d-accent)} .stApp a.d-help:focus-visible{outline:2px solid var(--d-accent)}

/* the verdict */
[class*=st-key-verdict-]{background:var(--d-panel);border-left:3px solid var(--d-queued);border-radius:0 4px 4px 0;padding:9px 10px 9px 12px}
[class*=st-key-verdict-] [data-testid=stElementContainer]:has([data-testid=stHtml]){flex:1 1 20rem;min-width:0}
.st-key-verdict-steady{border-left-color:var(--d-done)}
.st-key-verdict-alarm,.st-key-verdict-stale{border-left-color:var(--d-fail)}
.d-verdict{font-size:15px;line-height:20px;font-weight:600}
.d-verdict em{font-style:normal}
.st-key-verdict-alarm .d-verdict em,.st-key-verdict-stale .d-verdict em{color:var(--d-fail)}
.d-evidence{font-size:13px;line-height:18px;color:var(--d-ink2);margin-top:2px}

/* the card beside a grid */
.st-key-card{border:1px solid var(--d-line);border-radius:4px;padding:10px 12px}
.st-key-split{align-items:flex-start}
.d-cardhead{font-size:12px;line-height:18px;color:var(--d-ink2);overflow-wrap:anywhere} .d-cardhead b{font-size:14px;font-weight:600;color:var(--d-ink)}
:is(.d-facts,.d-way){width:100%;border-collapse:collapse;font-size:12px;line-height:17px;border-top:1px solid var(--d-line2);margin:0}
:is(.d-facts,.d-way) :is(th,td){border:0;padding:1px 0;text-align:left;vertical-align:top;font-weight:400} :is(.d-facts,.d-way) tr:first-child :is(th,td){padding-top:7px}
.d-facts th{color:var(--d-ink2);width:94px} .d-instants th{width:112px} .d-way td:first-child{color:var(--d-ink2);width:62px} .d-way td:last-child{text-align:right;color:var(--d-ink2);white-space:nowrap}
.d-way td{padding:2px 0} .d-way small{display:block;font-size:12px;color:var(--d-ink2);overflow-wrap:anywhere} .stApp .d-way a{color:var(--d-accent);text-decoration:none} .stApp .d-way a:hover{text-decoration:underline}
.d-way .d-dot{width:20px;position:relative} .d-dot::before{content:"";position:absolute;left:3px;top:7px;width:7px;height:7px;border-radius:50%;background:var(--d-queued);z-index:1}
.d-dot::after{content:"";position:absolute;left:6px;top:12px;bottom:-8px;width:1px;background:var(--d-line)} tr:last-child>.d-dot::after{display:none}
tr:first-child>.d-dot::before{top:12px} tr:first-child>.d-dot::after{top:16px}
:is(.d-dot.active,.d-dot.scanned,.d-dot.connecting,.d-dot.connected)::before{background:var(--d-run)} :is(.d-dot.processing,.d-dot.processing_queued)::before{background:var(--d-proc)}
:is(.d-dot.stopping,.d-dot.stopped)::before{background:var(--d-stop)} .d-dot.canceled::before{background:var(--d-fail)} .d-dot.processed::before{background:var(--d-done)}
.tb{width:100%;border-collapse:collapse;font-size:13px;line-height:18px} .tb :is(th,td){border:0;border-bottom:1px solid var(--d-line2);padding:5px 8px;text-align:left;vertical-align:top;font-weight:400} .tb th{font-size:12px;color:var(--d-ink2);border-bottom-color:var(--d-line)}
:has(>.st-key-bulk){position:sticky;bottom:0;z-index:3}
.st-key-bulk{background:var(--d-accentbg);border:1px solid var(--d-accent);border-radius:4px;padding:4px 10px;font-size:13px}
.st-key-empty{border:1px dashed var(--d-line);border-radius:4px;padding:56px 20px;text-align:center;align-items:center}
/* finding tasks */
:is(.st-key-sql,.st-key-views)>* button,:is(.st-key-sql,.st-key-views) [data-testid=stPopoverButton]{min-height:30px;height:30px} .st-key-finder{flex-wrap:wrap;gap:8px} .st-key-finder [data-testid^=stBaseButton-]{min-height:30px} .st-key-finder>:has([data-testid=stVerticalBlock]),.st-key-finder>:first-child{flex:1 1 20rem}
.st-key-finder a.d-help{margin:0;line-height:28px}
/* acting on tasks: always as high */
.st-key-acts{background:var(--d-panel);border-radius:4px;padding:4px 10px;min-height:38px;font-size:13px} .st-key-acts:has(b){background:var(--d-accentbg)} .st-key-acts [data-testid=stElementContainer]:has([data-testid=stHtml]){flex:1 1 10rem;min-width:0}
/* the card on top */
.st-key-topcard{border:1px solid var(--d-line);border-radius:4px;padding:10px 12px}
.st-key-topcard-head [data-testid=stElementContainer]:has(.d-cardhead){flex:1 1 0;min-width:0} .st-key-topcard-parts{gap:16px} :is(.st-key-topcard,.st-key-card) .d-h3{border-top:1px solid var(--d-line2);padding-top:7px} .st-key-topcard-actions{border-top:1px solid var(--d-line2);padding-top:8px}
.st-key-topcard-parts>*{flex:1 1 200px;min-width:0} .st-key-topcard-parts>:first-child{flex:0 0 206px} .st-key-topcard-parts .d-facts tr:first-child :is(th,td),.st-key-topcard-parts .d-way tr:first-child :is(th,td){padding-top:0} .st-key-topcard-parts :is(.d-facts,.d-way){border-top:0}
.st-key-topcard-parts .d-facts th{width:106px;padding-right:6px}
.st-key-topcard-parts .d-way{display:block;max-height:220px;overflow-y:auto} .st-key-topcard-parts tr:first-child>.d-dot::before{top:5px} .st-key-topcard-parts tr:first-child>.d-dot::after{top:9px}
.d-changes caption{caption-side:top;text-align:left;font-size:12px;color:var(--d-ink2);padding:6px 0 2px}
.d-finding{font-size:16px;line-height:23px}
/* the menu's counts and the account */
[data-testid=stPageLink-NavLink]>:has(p){flex:1 1 auto;min-width:0} [data-testid=stPageLink-NavLink] :has(>p){width:100%}
[data-testid=stPageLink-NavLink] p:has(span){display:flex;justify-content:space-between;gap:8px;width:100%} [data-testid=stPageLink-NavLink] p span{font-weight:400;font-size:12px;color:var(--d-ink3)!important;white-space:nowrap} [data-testid=stPageLink-NavLink] p span em{font-style:normal;color:var(--d-fail)}
.st-key-drawer{position:absolute}
.d-account b{display:block;font-weight:600;overflow-wrap:anywhere} .d-account small{overflow-wrap:anywhere}

/* hosts */
.d-carded{font-size:12px;line-height:17px;color:var(--d-ink2);border-top:1px solid var(--d-line2);padding-top:7px} .d-carded b{font-weight:600;color:var(--d-ink)}
.d-tasks{width:100%;border-collapse:collapse;font-size:12px;line-height:17px;margin:3px 0 0} .d-tasks td{border:0;padding:1px 0;vertical-align:top} .d-tasks td:not(:first-child){text-align:right;white-space:nowrap;color:var(--d-ink2);padding-left:8px}
.d-tasks a{color:var(--d-accent);text-decoration:none} .d-tasks a:hover{text-decoration:underline} .d-tasks small{font-size:12px;color:var(--d-ink2);padding-left:6px;overflow-wrap:anywhere}
.d-tasks u{display:inline-block;vertical-align:middle;width:36px;height:4px;border-radius:2px;background:var(--d-band);margin-right:6px;overflow:hidden} .d-tasks u i{display:block;height:100%;background:var(--d-run)}
.d-befell{border-top:0;margin-top:3px} .d-way.d-befell td:first-child{width:112px;white-space:nowrap} .d-way.d-befell td:last-child{text-align:left;color:var(--d-ink);white-space:normal} .d-befell tr:first-child td{padding-top:2px} .d-befell tr:first-child>.d-dot::before{top:7px} .d-befell tr:first-child>.d-dot::after{top:12px}

/* the audit trail */
.d-audit td{overflow-wrap:anywhere} .stApp .d-audit a.d-link{font-size:12px}
.d-sides{width:100%;table-layout:fixed;border-collapse:collapse;font-size:12px;line-height:17px;margin:4px 0 0} .d-sides :is(th,td){border:0;border-bottom:1px solid var(--d-line2);padding:3px 8px 3px 0;text-align:left;vertical-align:top;font-weight:400;overflow-wrap:anywhere} .d-sides th{color:var(--d-ink2)} .d-sides th:first-child{width:94px}
.d-sides td.old{color:var(--d-ink2)} .d-sides td.new{color:var(--d-ink)}

/* settings and drills */
.d-nothing{border:1px dashed var(--d-line);border-radius:4px;padding:18px;text-align:center;color:var(--d-ink2)} .d-release th{width:190px;padding-right:10px}
.st-key-async [data-testid=stElementContainer]:has(.d-evidence){flex:1 1 11rem;min-width:0}
.d-h2{font-size:14px;line-height:20px;padding-top:8px} .d-h2 b{font-weight:600} .d-h2 span{color:var(--d-ink2);padding-left:8px} .st-key-blackouts .d-h2{padding-top:0}
[class*=st-key-drill-],[class*=st-key-going-],[class*=st-key-set-]{border-bottom:1px solid var(--d-line2);padding-bottom:8px}
[class*=st-key-going-],[class*=st-key-set-]{padding-bottom:4px}
[class*=st-key-row-] [data-testid=stElementContainer]:has(.d-what){flex:1 1 14rem;min-width:0}
[class*=st-key-going-] [data-testid=stElementContainer]:has(.d-going),[class*=st-key-set-] [data-testid=stElementContainer]:has(.d-set){flex:1 1 0;min-width:0}
.d-what,.d-going{font-size:13px;line-height:18px} .d-what b,.d-going b{display:block;font-weight:600} .d-what span,.d-going span{color:var(--d-ink2)}
[class*=st-key-drill-] [data-testid=stWidgetLabel] p,.d-sethead{font-size:12px;color:var(--d-ink2)}
[data-testid=stNumberInputContainer]{height:30px;min-height:30px} [data-testid=stNumberInputContainer] input{font-size:13px;padding:0 10px} [data-testid=stNumberInputContainer] button{height:28px;min-height:0}
.d-told{font-size:13px;line-height:18px;border-left:3px solid var(--d-done);background:var(--d-panel);padding:4px 10px;overflow-wrap:anywhere} .d-told.no{border-left-color:var(--d-fail)}
.d-set{display:grid;grid-template-columns:minmax(0,1fr) 92px 92px 112px 150px;gap:0 12px;align-items:baseline;font-size:13px;line-height:18px}
.d-set b{font-weight:600;display:block} .d-set small{display:block;font-size:12px;line-height:17px;color:var(--d-ink2)} .d-set :is(.v,.d){text-align:right;overflow-wrap:anywhere} .d-set :is(.d,.s,.c){color:var(--d-ink2);overflow-wrap:anywhere} .d-set i{font-style:normal;color:var(--d-hold);display:block;font-size:12px;line-height:17px}
.d-set .k{display:none} .d-set>:nth-child(4){padding-left:14px}
/* reports */
[class*=st-key-one-report-]{border-bottom:1px solid var(--d-line2);padding-bottom:6px}
.d-doing{font-size:13px;line-height:18px;color:var(--d-ink2);text-align:right}
:is([class*=st-key-report-table-],.st-key-report-results) [data-testid=stElementContainer]:has(.d-h2),.st-key-report-made [data-testid=stElementContainer]:has(.d-evidence){flex:1 1 14rem;min-width:0}
.stApp a.d-link{color:var(--d-accent);font-size:13px;text-decoration:none} .d-scroll{overflow-x:auto} .tb :is(th,td).n{text-align:right} .d-scroll td{white-space:nowrap} .d-scroll td.w{white-space:normal;min-width:220px}
@media (max-width:900px){
  .d-set>:nth-child(4){padding-left:0}
  .d-set{display:block} .d-set>:not(.n){display:inline-block;margin-right:14px} .d-set .k{display:inline;color:var(--d-ink2)} .d-set i{display:inline;padding-left:6px}
  .st-key-set-head{display:none!important}
}
@media (max-width:700px){
  [class*=st-key-row-]{gap:6px 10px!important} [class*=st-key-row-]>:has(.d-what){flex:1 0 100%!important}
  [class*=st-key-row-] [data-testid=stElementContainer]:has(>:is([data-testid=stSelectbox],[data-testid=stNumberInput])){width:calc(50% - 5px)!important;min-width:0;flex:none!important}
  [class*=st-key-row-] :is([data-testid=stSelectbox],[data-testid=stNumberInput]){width:100%!important}
}
/* schedules */
[data-testid=stBaseButton-primary]:disabled p{color:var(--d-ink3)}
[class*=st-key-charts]>*{flex:1 1 380px;min-width:0} [class*=st-key-charts] [data-testid=stVerticalBlock]{gap:2px} .st-key-charts-stale{filter:grayscale(1)}
.d-h3{font-size:12px;line-height:17px;color:var(--d-ink2);padding-top:4px}
.d-fires{border-collapse:collapse;font-size:12px;line-height:17px;width:100%} .d-fires :is(th,td){border:0;padding:1px 8px 1px 0;text-align:left;font-weight:400;vertical-align:top} .d-fires th{color:var(--d-ink2)} .d-fires .kept{color:var(--d-hold);padding-bottom:4px}
.d-way td.d-when{width:108px;padding-right:6px;white-space:nowrap} .d-way td.d-said{text-align:left;white-space:normal;color:var(--d-ink)} .d-way .d-dot.missed::before{background:var(--d-bg);border:1.5px solid var(--d-hold);box-sizing:border-box}
.st-key-plan-means{background:var(--d-panel);border-radius:4px;padding:6px 10px 8px} .st-key-plan-actions{gap:6px} .st-key-card .st-key-plan-actions{flex-wrap:wrap}
/* what is said once, over the head row: it hides no button */
[data-testid=stToastContainer]{left:50%;right:auto;top:8px;bottom:auto;transform:translateX(-50%);padding:0}
[data-testid=stToast]{min-height:0;padding:8px 12px;font-size:13px}
@media (max-width:700px){
  [data-testid=stMainBlockContainer]{padding:2.6rem 12px 1.5rem}
  [data-testid=stHeader]{background:var(--d-bg)} :is(.st-key-card,.st-key-split :has(.st-key-card)){width:100%!important;max-width:none!important}
  .st-key-split{flex-direction:column!important}
  .st-key-split>*{width:100%!important;flex:none!important;max-width:none!important}
  .st-key-split>:has(.st-key-card),.st-key-split>.st-key-card{order:-1}
  .st-key-head{flex-wrap:nowrap!important} .d-stale span{display:none}
  .d-unheard{flex-direction:row;position:fixed;top:0;left:56px;right:12px;height:2.4rem;z-index:999990;background:var(--d-bg)}
  .d-shown{position:fixed;top:11px;left:56px;right:12px;z-index:999990;font-size:13px;line-height:18px;pointer-events:none}
  .st-key-finder{gap:6px!important} .st-key-finder>:first-child{flex:1 0 calc(100% - 30px)!important} .st-key-finder [data-testid^=stBaseButton-],.st-key-finder [data-testid=stPopoverButton]{padding:0 6px}
  .d-scroll :is(th,td.w){white-space:nowrap} .st-key-acts{gap:6px!important} .st-key-acts:has(b) [data-testid=stElementContainer]:has([data-testid=stHtml]){flex:1 0 100%!important} .st-key-acts [data-testid^=stBaseButton-]{padding:0 8px}
  .st-key-filter:has(.st-key-logs)>:has(.bar),.st-key-filter:has(.st-key-logs)>:nth-child(2){flex:1 0 100%!important;order:3}
  .st-key-head [data-testid=stElementContainer]:has(.d-shown){flex:1 1 0}
}
"""


def apply() -> None:
    """Set the tokens of the viewer's theme and the sheet; once per run."""
    theme = st.context.theme.type or "light"
    dark = theme == "dark"
    tokens = ";".join(f"--d-{name}:{pair[dark]}" for name, pair in TOKENS.items())
    st.html(f"<style>:root{{color-scheme:{theme};{tokens}}}{SHEET}</style>")

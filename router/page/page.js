// The web page. Nothing that comes from logs is ever parsed as markup: text goes in through
// textContent and createTextNode only.
'use strict';
const $ = id => document.getElementById(id);
const ROWS_MAX = 10000;
// Pipes whose order of rows is the answer's own.
const ORDERED = /\|\s*(sort|order|first|last|top|uniq|stats|facets|patterns|field_names|field_values|union|join)\b/i;
let running = null;   // AbortController of what runs
let shown = [];       // the rows on the page
let ranged = null;    // [from, to] in ms of the last search
let older = null;     // what asks for the page behind the rows that are shown, or null

function el(tag, cls, text) {
  const e = document.createElement(tag);
  if (cls) e.className = cls;
  if (text !== undefined) e.textContent = text;
  return e;
}

function say(text, cls) {
  $('status').textContent = text;
  $('status').className = cls || '';
}

// ---- the state, which lives in the address so that a view can be sent to somebody -----------------

const UNIT = { s: 1e3, m: 6e4, h: 36e5, d: 864e5 };

function rangeOf() {
  const r = $('range').value, now = Date.now();
  if (r === 'all') return null;
  if (r === 'custom') {
    const from = Date.parse($('from').value), to = Date.parse($('to').value);
    if (isNaN(from)) throw new Error('from: expected a time such as 2026-01-31T10:00:00Z');
    return [from, isNaN(to) ? now : to];
  }
  return [now - parseInt(r, 10) * UNIT[r.slice(-1)], now];
}

function save() {
  const p = new URLSearchParams({ q: $('query').value, r: $('range').value, n: $('limit').value });
  if ($('range').value === 'custom') { p.set('from', $('from').value); p.set('to', $('to').value); }
  if ($('tenant').value) p.set('t', $('tenant').value);
  history.replaceState(null, '', '#' + p);
}

function load() {
  const p = new URLSearchParams(location.hash.slice(1));
  if (p.has('q')) $('query').value = p.get('q');
  if (p.has('r')) $('range').value = p.get('r');
  if (p.has('n')) $('limit').value = p.get('n');
  $('from').value = p.get('from') || '';
  $('to').value = p.get('to') || '';
  $('tenant').value = p.get('t') || '';
  $('custom').hidden = $('range').value !== 'custom';
  return p.has('q');
}

// ---- asking ---------------------------------------------------------------------------------------

async function ask(path, args, signal) {
  const headers = $('tenant').value ? { 'X-Scope-OrgID': $('tenant').value } : {};
  const res = await fetch('select/logsql/' + path,
                          { method: 'POST', body: new URLSearchParams(args), headers, signal });
  if (!res.ok) throw new Error((await res.text()).trim() || res.status + ' ' + res.statusText);
  return res;
}

// Calls each(row) for every line as it comes.
async function lines(res, each) {
  const reader = res.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const parts = (rest + value).split('\n');
    rest = parts.pop();
    for (const line of parts) if (line) each(JSON.parse(line));
  }
  if (rest.trim()) each(JSON.parse(rest));
}

function args() {
  const a = { query: $('query').value.trim() || '*' };
  ranged = rangeOf();
  if (ranged) { a.start = new Date(ranged[0]).toISOString(); a.end = new Date(ranged[1] - 1).toISOString(); }
  return a;
}

function begin() {
  if (running) running.abort();
  running = new AbortController();
  $('bar').className = 'busy';
  $('tail').className = '';
  $('rows').replaceChildren();
  $('fields').replaceChildren();
  shown = [];
  setOlder(null);
  save();
  return running;
}

function setOlder(what) {
  older = what;
  $('older').hidden = !what;
}

// A page of events, newest first, its rows shown as they come. Returns what it lacks, or throws.
async function page(a, signal) {
  const res = await ask('query', a, signal);
  const partial = res.headers.get('X-Telescope-Partial');
  let cursor = null, error = null;
  let batch = document.createDocumentFragment();
  const flush = () => { $('rows').append(batch); batch = document.createDocumentFragment(); };
  try {
    await lines(res, row => {
      if (row._error) error = row._error;
      else if (Object.keys(row).length === 1 && '_cursor' in row) cursor = row._cursor;
      else {
        shown.push(row);
        batch.append(rowElement(row));
        if (batch.childElementCount >= 200) flush();
      }
    });
  } catch (e) { if (e.name === 'AbortError') throw e; error = error || 'the answer broke off'; }
  flush();
  if (cursor === null) error = error || 'the answer broke off';
  setOlder(cursor && shown.length < ROWS_MAX ? { ...a, cursor } : null);
  return { partial, error };
}

async function showOlder() {
  const a = older;
  if (!a || running) return;
  const mine = running = new AbortController(), t0 = performance.now(), before = shown.length;
  $('bar').className = 'busy';
  setOlder(null);
  try {
    const { partial, error } = await page(a, mine.signal);
    $('fields').replaceChildren();
    drawFields();
    sayFound(shown.length, t0, partial, error, shown.length - before + ' more');
    if (error) setOlder(a);
  } catch (e) {
    if (running === mine) setOlder(a); // it can be asked for again
    if (e.name !== 'AbortError') say(e.message, 'error');
  } finally {
    if (running === mine) { running = null; $('bar').className = ''; }
  }
}

function sayFound(count, t0, partial, error, more) {
  const took = ((performance.now() - t0) / 1000).toFixed(2);
  const what = count + (count === 1 ? ' row' : ' rows') + (more ? ', ' + more : '') + ' in ' + took + ' s';
  if (error) say(what + '\n' + error, 'error');
  else if (partial) say(what + ' — PARTIAL: ' + partial, 'partial');
  else say(count ? what : 'Nothing matches. Try a longer time range, or fewer words.');
}

async function search() {
  const mine = begin(), t0 = performance.now();
  try {
    const a = args();
    say('searching …');
    drawHits(a, mine.signal);
    const limit = $('limit').value;
    if (!a.query.includes('|')) { // events: page by page
      const { partial, error } = await page({ ...a, limit, cursor: '', allow_partial_response: '1' }, mine.signal);
      drawFields();
      sayFound(shown.length, t0, partial, error);
      return;
    }
    const res = await ask('query', { ...a, limit }, mine.signal);
    const partial = res.headers.get('X-Telescope-Partial');
    let error = null;
    try {
      await lines(res, row => { if (row._error) error = row._error; else shown.push(row); });
    } catch (e) { if (e.name === 'AbortError') throw e; error = error || 'the answer broke off'; }
    const list = document.createDocumentFragment();
    const rows = shown.slice(-ROWS_MAX);
    if (!ORDERED.test(a.query)) rows.reverse(); // newest first
    for (const row of rows) list.append(rowElement(row));
    $('rows').replaceChildren(list);
    drawFields();
    sayFound(shown.length, t0, partial, error);
  } catch (e) {
    if (e.name !== 'AbortError') say(e.message, 'error');
  } finally {
    if (running === mine) { running = null; $('bar').className = ''; }
  }
}

async function tail() {
  if ($('tail').className === 'on') { running.abort(); return; }
  const mine = begin();
  $('tail').className = 'on';
  $('hits').replaceChildren();
  say('waiting for new events …');
  try {
    const res = await ask('tail', { query: $('query').value.trim() || '*', start_offset: '10s' }, mine.signal);
    await lines(res, row => {
      if (row._error || row._warning) { say(row._error || row._warning, row._error ? 'error' : 'partial'); return; }
      shown.push(row);
      $('rows').prepend(rowElement(row));
      while ($('rows').childElementCount > ROWS_MAX) $('rows').lastChild.remove();
      say(shown.length + ' new');
    });
  } catch (e) {
    say(e.name === 'AbortError' ? shown.length + ' events; stopped' : e.message, e.name === 'AbortError' ? '' : 'error');
  } finally {
    if (running === mine) { running = null; $('bar').className = ''; $('tail').className = ''; }
  }
}

// ---- drawing --------------------------------------------------------------------------------------

const STEPS = [1, 5, 10, 30, 60, 300, 600, 1800, 3600, 10800, 21600, 86400, 604800, 2592000];

// within: [from, to] in ms, or null for all time. A few days of all time are drawn in finer steps.
async function drawHits(a, signal, within = ranged) {
  $('hits').replaceChildren();
  const span = within ? (within[1] - within[0]) / 1000 : 0;
  const step = span ? STEPS.find(s => span / s <= 120) || STEPS[STEPS.length - 1] : 86400;
  try {
    const res = await ask('hits', { ...a, step: step + 's' }, signal);
    const hits = (await res.json()).hits[0];
    if (!hits) return;
    const counts = new Map(hits.timestamps.map((t, i) => [Date.parse(t), hits.values[i]]));
    const first = within ? Math.floor(within[0] / step / 1000) * step * 1000 : Math.min(...counts.keys());
    const last = within ? within[1] - 1 : Math.max(...counts.keys());
    if (!within && last - first < 4 * UNIT.d) {
      const from = new Date(first).toISOString(), to = new Date(last + UNIT.d - 1).toISOString();
      await drawHits({ ...a, start: from, end: to }, signal, [first, last + UNIT.d]);
      return;
    }
    const max = Math.max(...hits.values);
    const bars = document.createDocumentFragment();
    for (let t = first; t <= last && bars.childElementCount < 1000; t += step * 1000) {
      const n = counts.get(t) || 0, b = el('button');
      b.style.height = n ? Math.max(3, 100 * n / max) + '%' : '1px';
      b.title = new Date(t).toISOString() + '\n' + n + ' events';
      b.addEventListener('click', () => narrow(t, t + step * 1000));
      bars.append(b);
    }
    $('hits').replaceChildren(bars);
  } catch (e) { /* the search itself says what is wrong */ }
}

function narrow(from, to) {
  $('range').value = 'custom';
  $('custom').hidden = false;
  $('from').value = new Date(from).toISOString();
  $('to').value = new Date(to).toISOString();
  search();
}

function quote(s) { return JSON.stringify(s); }

function addFilter(field, value, not) {
  const q = $('query').value.trim(), i = q.indexOf('|');
  const head = (i < 0 ? q : q.slice(0, i)).trim(), pipes = i < 0 ? '' : ' ' + q.slice(i);
  const f = (not ? '-' : '') + (field === '_stream' ? value : quote(field) + ':=' + quote(value));
  $('query').value = (head && head !== '*' ? head + ' ' + f : f) + pipes;
  search();
}

function level(row) {
  const l = (row.level || row.severity || row.severity_text || '').toLowerCase();
  const m = row._msg || '';
  if (/^(err|fatal|crit|alert|emerg|panic)/.test(l) || (!l && /\b(error|fatal|panic|critical)\b/i.test(m))) return 'e';
  if (/^warn/.test(l) || (!l && /\bwarn(ing)?\b/i.test(m))) return 'w';
  return '';
}

// Words of the query, to be marked in messages.
function words() {
  const head = $('query').value.split('|')[0].replace(/\{[^}]*\}/g, ' ');
  return (head.match(/"[^"]+"|[\p{L}\p{N}_]{3,}/gu) || []).map(w => w.replace(/"/g, ''))
    .filter(w => !/^(and|or|not)$/i.test(w)).slice(0, 10);
}

function marked(parent, text) {
  const w = words();
  if (!w.length) { parent.append(text); return; }
  const re = new RegExp(w.map(s => s.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|'), 'gi');
  let at = 0;
  for (const m of text.matchAll(re)) {
    parent.append(text.slice(at, m.index), el('mark', '', m[0]));
    at = m.index + m[0].length;
  }
  parent.append(text.slice(at));
}

function rowElement(row) {
  const li = el('li'), details = el('details'), summary = el('summary');
  if (row._time) summary.append(el('time', '', row._time.replace('T', ' ').replace(/(\.\d{3})\d*Z$/, '$1Z')));
  const msg = el('span', 'msg ' + level(row));
  const text = row._msg !== undefined ? row._msg
    : Object.entries(row).filter(([k]) => k !== '_time').map(([k, v]) => k + '=' + v).join('  ');
  marked(msg, text.length > 4000 ? text.slice(0, 4000) + ' …' : text);
  summary.append(msg);
  details.append(summary);
  details.addEventListener('toggle', () => {
    if (details.open && details.childElementCount === 1) details.append(fieldList(row));
  });
  li.append(details);
  return li;
}

function fieldList(row) {
  const dl = el('dl');
  for (const [k, v] of Object.entries(row)) {
    const dd = el('dd', '', v);
    for (const [sign, not, title] of [['+', false, 'only these'], ['−', true, 'all but these']]) {
      const b = el('button', '', sign);
      b.title = title;
      b.addEventListener('click', () => addFilter(k, v, not));
      if (k !== '_time' && k !== '_msg') dd.append(b);
    }
    dl.append(el('dt', '', k), dd);
  }
  return dl;
}

// Fields of the rows on the page, with their most frequent values.
function drawFields() {
  const fields = new Map();
  for (const row of shown)
    for (const [k, v] of Object.entries(row)) {
      if (k === '_time' || k === '_msg' || k === '_stream_id') continue;
      if (!fields.has(k)) fields.set(k, new Map());
      const values = fields.get(k);
      if (values.size < 1000 || values.has(v)) values.set(v, (values.get(v) || 0) + 1);
    }
  for (const [name, values] of [...fields].sort((x, y) => x[0] < y[0] ? -1 : 1)) {
    const b = el('button'), box = el('div');
    b.append(el('span', '', name), el('span', 'count', String(values.size)));
    b.addEventListener('click', () => {
      if (box.childElementCount) { box.replaceChildren(); return; }
      for (const [v, n] of [...values].sort((x, y) => y[1] - x[1]).slice(0, 20)) {
        const c = el('button', 'value');
        c.append(el('span', '', v.length > 100 ? v.slice(0, 100) + ' …' : v), el('span', 'count', String(n)));
        c.addEventListener('click', () => addFilter(name, v, false));
        box.append(c);
      }
    });
    $('fields').append(b, box);
  }
}

// ---- start ----------------------------------------------------------------------------------------

$('form').addEventListener('submit', e => { e.preventDefault(); search(); });
$('tail').addEventListener('click', tail);
$('older').addEventListener('click', showOlder);
$('range').addEventListener('change', () => {
  $('custom').hidden = $('range').value !== 'custom';
  if ($('range').value !== 'custom') search();
});
document.addEventListener('keydown', e => {
  if (e.key === '/' && document.activeElement.tagName !== 'INPUT') { e.preventDefault(); $('query').focus(); }
  if (e.key === 'Escape' && running) running.abort();
});
window.addEventListener('hashchange', () => { if (load()) search(); });
if (load()) search();
else say('Type a query and press Enter. “/” jumps here, Escape stops.');

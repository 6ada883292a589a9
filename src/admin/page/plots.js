// The last hour as plots: small SVGs of our own, each with its unit, and the same as a table.

const HOUR = 3_600_000;
const MARGIN = { left: 44, right: 6, top: 8, bottom: 20 };

const PLOTS = [
  {
    title: 'Handshakes', unit: 'per minute', form: 'bars', whole: true, step: 60_000,
    series: [
      { name: 'accepted', color: '--plot-1', pattern: 'plain' }, { name: 'repaired', color: '--plot-2', pattern: 'rising' },
      { name: 'refused', color: '--plot-3', pattern: 'cross' }, { name: 'held off', color: '--plot-4', pattern: 'dots' }, { name: 'other', color: '--plot-5', pattern: 'falling' },
    ],
    format: number,
    points: handshakes,
    sentence: (points, sums) => `Handshakes per minute over the last hour: ${sums.map((sum, index) => `${number(sum)} ${PLOTS[0].series[index].name}`).join(', ')}.`,
  },
  {
    title: 'Handshake time', unit: 'ms', form: 'lines',
    series: [{ name: 'half within (p50)', color: '--plot-1', dash: '' }, { name: '99 % within (p99)', color: '--plot-3', dash: '5 3' }],
    format: (value) => (value >= 10 || value === 0 ? number(value) : value.toFixed(1)),
    points: (hour) => hour.p50_ms.map((p50, index) => ({ at: hour.first + index * hour.step_ms, values: [p50, hour.p99_ms[index]] })),
    sentence: (points) => `Time of a handshake over the last hour, in milliseconds: ${peak(points, 0, 'half within', 'ms')}, ${peak(points, 1, '99 percent within', 'ms')} at the worst.`,
  },
  {
    title: 'Traffic', unit: 'both ways, per second', form: 'area',
    series: [{ name: 'both ways', color: '--plot-2', dash: '' }],
    format: (value) => bytes(value),
    points: (hour) => hour.bytes.map((value, index) => ({ at: hour.first + index * hour.step_ms, values: [value * 1000 / hour.step_ms] })),
    sentence: (points) => `Bytes per second over the last hour, both ways: ${bytes(Math.max(0, ...points.map((point) => point.values[0])))} at the most.`,
  },
];

/** Two steps of half a minute make a minute, so that one handshake is one and not two a minute. */
function handshakes(hour) {
  const minutes = new Map();
  hour.handshakes.forEach((all, index) => {
    const at = Math.floor((hour.first + index * hour.step_ms) / 60_000) * 60_000;
    const known = [hour.accepted[index], hour.repaired[index], hour.refused[index], hour.repeated[index]];
    const other = Math.max(0, all - known.reduce((sum, value) => sum + value, 0));
    const values = minutes.get(at) ?? [0, 0, 0, 0, 0];
    minutes.set(at, values.map((value, part) => value + [...known, other][part]));
  });
  return [...minutes].map(([at, values]) => ({ at, values }));
}

function peak(points, part, words, unit) {
  const known = points.map((point) => point.values[part]).filter((value) => value !== null);
  return known.length ? `${words} ${number(Math.max(...known))} ${unit}` : `${words} not known`;
}

function sums(points, parts) {
  return points.reduce((sum, point) => sum.map((value, index) => value + (point.values[index] ?? 0)), new Array(parts).fill(0));
}

const plots = PLOTS.map(makePlot);

function makePlot(plot, index) {
  const id = `plot-${index}`;
  const unit = el('span', { class: 'unit', text: plot.unit });
  const picture = svg('svg', { role: 'img', focusable: 'false' });
  const canvas = el('div', { class: 'canvas' }, picture);
  const body = el('tbody');
  const table = el('table', {}, el('caption', { class: 'unseen', text: `${plot.title}, ${plot.unit}, the newest first` }),
    el('thead', {}, el('tr', {}, el('th', { scope: 'col', text: 'Time' }), ...plot.series.map((series) => el('th', { scope: 'col', text: series.name })))), body);
  const details = el('details', {}, el('summary', { text: 'As a table' }), el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': `${plot.title} as a table` }, table));
  const legend = el('div', { class: 'legend' }, ...(plot.series.length > 1 ? plot.series.map((series) => el('span', {}, swatch(plot, series, id), series.name)) : []));
  const node = el('figure', { class: 'card plot' }, el('figcaption', {}, el('span', { text: plot.title }), unit), canvas, legend, details);
  $('plots').append(node);
  let state = null;
  const draw = () => state && drawPlot(plot, id, picture, canvas, state);
  new ResizeObserver(draw).observe(canvas);
  details.addEventListener('toggle', () => state && fillTable(plot, details, body, state));
  canvas.addEventListener('pointermove', (event) => { if (state) point(plot, canvas, picture, unit, state, event); });
  canvas.addEventListener('pointerleave', () => { setText(unit, plot.unit); picture.querySelector('.here')?.remove(); });
  return { update(status) {
    const points = plot.points(status.hour).filter((one) => one.at > status.now - HOUR - 60_000);
    state = { points, now: status.now, step: plot.step ?? status.hour.step_ms };
    setAttribute(picture, 'aria-label', plot.sentence(points, sums(points, plot.series.length)));
    draw();
    fillTable(plot, details, body, state);
  } };
}

function drawPlot(plot, id, picture, canvas, { points, now, step }) {
  const { width, height } = canvas.getBoundingClientRect();
  if (width === 0) return;
  const inner = { left: MARGIN.left, right: width - MARGIN.right, top: MARGIN.top, bottom: height - MARGIN.bottom };
  const totals = points.map(({ values }) => (plot.form === 'bars' ? values.reduce((sum, value) => sum + value, 0) : Math.max(0, ...values.map((value) => value ?? 0))));
  const ticks = niceTicks(Math.max(0, ...totals), plot.whole);
  const top = ticks.at(-1);
  const x = (at) => inner.left + ((at - (now - HOUR)) / HOUR) * (inner.right - inner.left);
  const y = (value) => inner.bottom - (value / top) * (inner.bottom - inner.top);
  const here = picture.querySelector('.here');
  picture.replaceChildren(plot.form === 'bars' ? patterns(plot, id) : svg('defs'), axes(plot, ticks, inner, x, y, now), shapes(plot, id, points, step, inner, x, y), ...(here ? [here] : []));
}

function axes(plot, ticks, inner, x, y, now) {
  const group = svg('g', { 'aria-hidden': 'true' });
  for (const tick of ticks) {
    group.append(svg('line', { class: tick === 0 ? 'axis' : 'rule', x1: inner.left, x2: inner.right, y1: Math.round(y(tick)) + 0.5, y2: Math.round(y(tick)) + 0.5 }));
    group.append(svg('text', { x: inner.left - 6, y: y(tick) + 3.5, 'text-anchor': 'end' }, plot.format(tick)));
  }
  const quarter = 15 * 60_000;
  for (let at = Math.ceil((now - HOUR) / quarter) * quarter; at <= now; at += quarter) {
    group.append(svg('line', { class: 'axis', x1: x(at), x2: x(at), y1: inner.bottom, y2: inner.bottom + 4 }));
    const anchor = x(at) > inner.right - 16 ? 'end' : x(at) < inner.left + 16 ? 'start' : 'middle';
    group.append(svg('text', { x: x(at), y: inner.bottom + 15, 'text-anchor': anchor }, minute(at)));
  }
  return group;
}

function shapes(plot, id, points, step, inner, x, y) {
  const group = svg('g');
  const clip = (at) => Math.min(inner.right, Math.max(inner.left, x(at)));
  if (plot.form === 'bars') {
    for (const { at, values } of points) {
      let below = 0;
      values.forEach((value, part) => {
        if (!value) return;
        const [left, right] = [clip(at) + 0.5, clip(at + step) - 0.5];
        if (right > left) group.append(svg('rect', { x: left, width: right - left, y: y(below + value), height: y(below) - y(below + value), fill: `url(#${id}-${part})` }));
        below += value;
      });
    }
    return group;
  }
  plot.series.forEach((series, part) => {
    const runs = unbroken(points.filter(({ at }) => at >= points[0].at), part);
    for (const run of runs) {
      const places = run.map(({ at, value }) => [clip(at + step / 2), y(value)]);
      const line = places.map(([px, py], index) => `${index ? 'L' : 'M'}${px.toFixed(1)} ${py.toFixed(1)}`).join('');
      const color = `var(${series.color})`;
      if (plot.form === 'area') group.append(svg('path', { d: `${line}L${places.at(-1)[0].toFixed(1)} ${inner.bottom}L${places[0][0].toFixed(1)} ${inner.bottom}Z`, fill: color, 'fill-opacity': 0.16 }));
      if (places.length === 1) group.append(svg('circle', { cx: places[0][0], cy: places[0][1], r: 2, fill: color }));
      group.append(svg('path', { d: line, fill: 'none', stroke: color, 'stroke-width': 1.75, 'stroke-linejoin': 'round', 'stroke-dasharray': series.dash }));
    }
  });
  return group;
}

/** Where nothing is known, the line ends. */
function unbroken(points, part) {
  const runs = [];
  let open = null;
  for (const { at, values } of points) {
    if (values[part] === null) { open = null; continue; }
    if (!open) runs.push(open = []);
    open.push({ at, value: values[part] });
  }
  return runs;
}

function patterns(plot, id) {
  return svg('defs', {}, ...plot.series.map((series, part) => {
    const color = `var(${series.color})`;
    const pattern = svg('pattern', { id: `${id}-${part}`, width: 6, height: 6, patternUnits: 'userSpaceOnUse' }, svg('rect', { width: 6, height: 6, fill: color }));
    const marks = { rising: 'M-1 7L7 -1', falling: 'M-1 -1L7 7', cross: 'M-1 7L7 -1M-1 -1L7 7', dots: 'M2 3h2' }[series.pattern];
    if (marks) pattern.append(svg('path', { d: marks, stroke: 'var(--sheet)', 'stroke-width': series.pattern === 'dots' ? 2 : 1, fill: 'none' }));
    return pattern;
  }));
}

function swatch(plot, series, id) {
  const part = plot.series.indexOf(series);
  const picture = svg('svg', { viewBox: '0 0 16 10', 'aria-hidden': 'true', focusable: 'false' });
  if (plot.form === 'bars') picture.append(patterns({ series: [series] }, `${id}-legend-${part}`), svg('rect', { width: 16, height: 10, rx: 1.5, fill: `url(#${id}-legend-${part}-0)` }));
  else picture.append(svg('path', { d: 'M0 5h16', stroke: `var(${series.color})`, 'stroke-width': 2, 'stroke-dasharray': series.dash }));
  return picture;
}

/** Two to four steps of 1, 2 or 5 times a power of ten. */
function niceTicks(most, whole) {
  const raw = Math.max(most, whole ? 2 : 1e-9) / 3;
  const power = 10 ** Math.floor(Math.log10(raw));
  let step = [1, 2, 5, 10].find((factor) => factor * power >= raw) * power;
  if (whole) step = Math.max(1, step);
  if (!most && !whole) step = 1;
  const ticks = [];
  for (let index = 0; index === 0 || (index - 1) * step < Math.max(most, step); index += 1) ticks.push(index * step);
  return ticks;
}

function point(plot, canvas, picture, unit, { points, now, step }, event) {
  const { left, width, height } = canvas.getBoundingClientRect();
  const span = width - MARGIN.left - MARGIN.right;
  const at = now - HOUR + ((event.clientX - left - MARGIN.left) / span) * HOUR;
  const found = points.find((one) => one.at <= at && at < one.at + step);
  let here = picture.querySelector('.here');
  if (!found) { here?.remove(); setText(unit, plot.unit); return; }
  if (!here) picture.append(here = svg('line', { class: 'here' }));
  const x = MARGIN.left + ((found.at + step / 2 - (now - HOUR)) / HOUR) * span;
  for (const [name, value] of Object.entries({ x1: x, x2: x, y1: MARGIN.top, y2: height - MARGIN.bottom })) here.setAttribute(name, value);
  const values = plot.series.map((series, part) => (!found.values[part] ? null : `${plot.format(found.values[part])} ${plot.series.length > 1 ? series.name : ''}`)).filter(Boolean);
  setText(unit, `${minute(found.at)}  ${values.join(', ') || 'nothing'}`);
}

/** Only where somebody looks: a hundred rows, three times, every two seconds, are not for nobody. */
function fillTable(plot, details, body, { points }) {
  if (!details.open) return;
  const rows = points.filter(({ values }) => values.some((value) => value)).reverse();
  keyed(body, rows, ({ at }) => `${at}`, ({ at }) => {
    const cells = plot.series.map(() => el('td'));
    return { node: el('tr', {}, el('th', { scope: 'row', text: clock(at) }), ...cells), update({ values }) {
      cells.forEach((cell, part) => setText(cell, values[part] === null ? '–' : plot.format(values[part])));
    } };
  });
}

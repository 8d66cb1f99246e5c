// --- The topics ----------------------------------------------------

/** What is known of each topic, by name; null until the broker has said it for the first time. */
let known = null;
const rows = new Map(); // key of a row -> row
const unfolded = new Set(); // paths of folders
let rowsMax = ROWS_STEP;
let polling = false;
let due; // next poll

async function poll() {
  if (polling || document.hidden) return;
  polling = true;
  clearTimeout(due);
  const begun = performance.now();
  try {
    const signal = AbortSignal.timeout(SILENCE_MAX);
    note(await (await ask('topics', { signal })).json(), begun);
    await readStandings(signal);
    if (!view) {
      await drawOverview(signal);
      const [any] = known.keys();
      if (any !== undefined && rightsOf !== token) await showRights(any, signal);
      say('live', 'live');
    }
    drawTopics();
  } catch (error) {
    if (!view) lost(error);
  }
  polling = false;
  // A long list is asked for less often, so that it costs neither side much.
  due = setTimeout(poll, Math.max(1000, 20 * (performance.now() - begun)));
}

/** Takes what the broker answered to a request of the time `begun`. */
function note(topics, begun) {
  const now = performance.now();
  const names = new Set();
  const first = known === null;
  known ??= new Map();
  for (const found of topics) {
    names.add(found.topic);
    let topic = known.get(found.topic);
    if (!topic) {
      topic = { ...found, rates: [], rate: 0, next: 0, at: now - 1000 };
      known.set(found.topic, topic);
      // What was there before this page was opened has no rate.
      if (first) Object.assign(topic, found, { at: now });
    }
    const again = found.stream !== topic.stream;
    const grown = again ? found.next : found.next - topic.next;
    topic.rates.push(Math.max(0, grown) * 1000 / Math.max(now - topic.at, 100));
    if (topic.rates.length > 5) topic.rates.shift();
    topic.rate = topic.rates.reduce((sum, each) => sum + each, 0) / topic.rates.length;
    Object.assign(topic, found, { at: now });
  }
  for (const name of known.keys()) {
    if (!names.has(name)) known.delete(name);
  }
  // Many topics are shown as a tree, unless somebody has chosen.
  if (first) $('tree').checked = names.size > 30 && topics.some(({ topic }) => topic.includes('/'));
  if (!view) return;
  notice(view, !names.has(view.topic), begun);
  drawSoon();
}

/** Orders that somebody can choose; names decide where two are alike. */
const collator = new Intl.Collator(undefined, { numeric: true });
const byName = (a, b) => collator.compare(a.label, b.label);
const ORDERS = {
  name: byName,
  rate: (a, b) => b.rate - a.rate || byName(a, b),
  messages: (a, b) => b.messages - a.messages || byName(a, b),
  last: (a, b) => (b.last ?? 0) - (a.last ?? 0) || byName(a, b),
};

/** Whether a name is wanted: all words are in it, in any order; or it matches the pattern. */
function filter() {
  const wanted = $('wanted').value.trim();
  if (wanted.includes('*')) {
    // As in subscriptions: `*` stays within a level, `**` does not.
    const parts = { '*': '[^/]*', '**': '[^]*', '\\*': '\\*', '\\\\': '\\\\' };
    const source = wanted.replace(/\\[*\\]|\*\*|\*|[\\^$.+?()[\]{}|]/g,
      (part) => parts[part] ?? `\\${part}`);
    const pattern = new RegExp(`^${source}$`, 'u');
    return (name) => pattern.test(name);
  }
  const words = wanted.toLowerCase().split(/\s+/);
  return (name) => words.every((word) => name.toLowerCase().includes(word));
}

/** The lines of the table, from the first on: topics, or folders and what is in open ones. */
function lines() {
  const order = ORDERS[$('sort').value];
  const accepts = filter();
  const found = [];
  for (const topic of known.values()) {
    if (accepts(topic.topic)) found.push({ ...topic, key: `topic ${topic.topic}`, label: topic.topic });
  }
  if (!$('tree').checked || $('wanted').value.trim() !== '') {
    return { found: found.length, all: found.sort(order) };
  }
  const root = folder('');
  for (const topic of found) {
    let at = root;
    const levels = topic.topic.split('/');
    topic.label = levels.pop();
    for (const level of levels) {
      const path = `${at.path}${level}/`;
      if (!at.folders.has(path)) at.folders.set(path, folder(path, `${level}/`));
      at = at.folders.get(path);
    }
    at.topics.push(topic);
  }
  sum(root);
  const all = [];
  const list = (parent, depth) => {
    for (const line of [...parent.folders.values(), ...parent.topics].sort(order)) {
      line.depth = depth;
      all.push(line);
      if (unfolded.has(line.path)) list(line, depth + 1);
    }
  };
  list(root, 0);
  return { found: found.length, all };
}

function folder(path, label) {
  return { path, label, key: `folder ${path}`, folders: new Map(), topics: [] };
}

/** Adds up what is in a folder. One that holds nothing but a folder is shown as one with it. */
function sum(parent) {
  for (const [path, child] of parent.folders) {
    sum(child);
    if (child.topics.length === 0 && child.folders.size === 1) {
      const [inner] = child.folders.values();
      inner.label = child.label + inner.label;
      parent.folders.set(path, inner);
    }
  }
  const inside = [...parent.folders.values(), ...parent.topics];
  const total = (field) => inside.reduce((sum, each) => sum + (each[field] ?? 0), 0);
  parent.messages = total('messages');
  parent.rate = total('rate');
  parent.last = inside.reduce((last, each) => Math.max(last, each.last ?? 0), 0);
}

function drawTopics() {
  if (known === null) return;
  const { found, all } = lines();
  const shown = all.slice(0, rowsMax);
  const keys = new Set(shown.map(({ key }) => key));
  for (const [key, row] of rows) {
    if (!keys.has(key)) {
      row.element.remove();
      rows.delete(key);
    }
  }
  const body = document.querySelector('tbody');
  const chooses = $('wanted').value.trim() !== '';
  shown.forEach((line, index) => {
    let row = rows.get(line.key);
    if (!row) {
      row = new Row(line);
      rows.set(line.key, row);
    }
    row.draw(line);
    row.element.classList.toggle('first', chooses && index === 0);
    if (body.children[index] !== row.element) {
      body.insertBefore(row.element, body.children[index] ?? null);
    }
  });
  setText($('third'), $('sort').value === 'last' ? 'Last' : 'Rate');
  setText($('found'), found === known.size ? several(found, 'topic')
    : `${count(found)} of ${several(known.size, 'topic')}`);
  setText($('empty'), found > 0 ? ''
    : known.size > 0 ? 'No topic matches. “New topic” creates one.'
    : 'There are no topics yet. “New topic” creates one, and so does publishing to it.');
  $('more').hidden = all.length <= shown.length;
  setText($('more'), `Show more: ${count(all.length - shown.length)} are left`);
}

/** A line of the table: a topic or a folder, how many messages it has, and how fast they come. */
class Row {
  constructor({ topic, path, label, depth = 0, stream }) {
    this.element = make('tr');
    this.stream = stream;
    const head = make('th');
    head.scope = 'row';
    head.style.setProperty('--depth', depth);
    this.link = make(path === undefined ? 'a' : 'button');
    // A long name is broken where a person would, and one from right to left moves nothing else.
    const name = make('bdi');
    name.append(...label.split(/(?<=[/._-])/).flatMap((part) => [part, make('wbr')]));
    this.link.append(name);
    this.link.title = topic ?? path;
    if (path === undefined) {
      this.link.href = address(topic);
    } else {
      this.link.type = 'button';
      this.link.onclick = () => fold(path, !unfolded.has(path));
    }
    head.append(this.link);
    this.number = make('td');
    this.third = make('td');
    this.curve = new Curve();
    const drawing = make('td');
    drawing.append(this.curve.svg);
    this.element.append(head, this.number, this.third, drawing);
  }

  draw({ topic, path, messages, rate, rates, last, at }) {
    setText(this.number, count(messages));
    setText(this.third, $('sort').value === 'last' ? age(last) : pace(rate));
    const sampled = at ?? Math.floor(performance.now() / 1000);
    if (this.at !== sampled) this.curve.add(rates?.at(-1) ?? rate);
    this.at = sampled;
    if (path !== undefined) this.link.setAttribute('aria-expanded', unfolded.has(path));
    const chosen = topic !== undefined && topic === view?.topic;
    this.element.classList.toggle('chosen', chosen);
    if (chosen) this.link.setAttribute('aria-current', 'true');
    else this.link.removeAttribute('aria-current');
  }
}

/** Opens or closes a folder. */
function fold(path, open) {
  if (open) unfolded.add(path);
  else unfolded.delete(path);
  drawTopics();
}

/** How long ago a moment was, in one unit. */
function age(time) {
  if (!time) return '–';
  const seconds = Math.max(0, (Date.now() - time) / 1000);
  const [size, unit] = [[86_400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']]
    .find(([size]) => seconds >= size) ?? [1, 's'];
  return `${count(Math.floor(seconds / size))} ${unit}`;
}

$('more').onclick = () => {
  rowsMax += ROWS_STEP;
  drawTopics();
};
// An observer tells changes only, and of several at once the last one holds. It looks again after
// each step, in case the end is still near.
const nearEnd = new IntersectionObserver((changes) => {
  if (!changes.at(-1).isIntersecting) return;
  $('more').click();
  nearEnd.unobserve($('more'));
  nearEnd.observe($('more'));
}, { root: $('rows'), rootMargin: '300px' });
nearEnd.observe($('more'));

$('find').addEventListener('submit', (event) => {
  event.preventDefault();
  // What Enter opens is the first line, which is marked.
  const [first] = document.querySelectorAll('tbody th > a');
  if ($('wanted').value.trim() === '' || !first) return;
  $('wanted').value = '';
  location.hash = first.hash;
});
$('wanted').addEventListener('input', () => {
  rowsMax = ROWS_STEP;
  $('rows').scrollTop = 0;
  drawTopics();
});
$('sort').onchange = drawTopics;
$('tree').onchange = drawTopics;

$('topics').addEventListener('keydown', (event) => {
  const { key, target } = event;
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const path = rows.get(`folder ${target.title}`)?.link === target ? target.title : null;
  if (key === 'ArrowDown' || key === 'ArrowUp') {
    if (target === $('sort')) return;
    const links = [$('wanted'), ...document.querySelectorAll('tbody th > *')];
    const next = links[links.indexOf(target) + (key === 'ArrowDown' ? 1 : -1)];
    if (!next) return;
    next.focus();
  } else if (key === 'Escape' && target !== $('wanted')) {
    $('wanted').focus();
  } else if (key === 'Escape') {
    $('wanted').value = '';
    drawTopics();
  } else if (path !== null && (key === 'ArrowRight' || key === 'ArrowLeft')) {
    fold(path, key === 'ArrowRight');
  } else {
    return;
  }
  event.preventDefault();
});


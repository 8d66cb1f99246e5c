// --- The list of the open topic ------------------------------------

/**
 * The open topic, or null: its `stream`, the event `id` to go on after, the `first` offset that is
 * there and the `end`, as far as they are known.
 * The newest messages are in `recent`, however far up somebody reads. The list shows messages
 * without a gap; `next` comes after the last of them. While it `follows`, the newest are added.
 */
let view = null;
let drawing = false;
const NOT_READ = 'not read: ';

const list = $('list');
let characters = 0; // in the list
const two = (number) => String(number).padStart(2, '0');

/** Takes a message that just came. */
function take(message) {
  view.end = message.offset + 1;
  view.recent.push(message);
  view.size += message.message.length;
  while (view.recent.length > 2 * MESSAGES_MAX || view.size > CHARACTERS_MAX) {
    for (const gone of view.recent.splice(0, Math.ceil(view.recent.length / 2))) {
      view.size -= gone.message.length;
    }
  }
  if (message.offset >= view.known) announce(message);
  drawSoon();
}

function drawSoon() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(draw);
}

/** Brings the list up to date, once a frame at most. */
function draw() {
  drawing = false;
  if (!view) return;
  if (view.follows) {
    const fresh = view.recent.slice(-MESSAGES_MAX).filter(({ offset }) => offset >= view.next);
    if (fresh.length > 0) {
      if (fresh[0].offset > view.next) clear();
      append(fresh);
      trim('firstElementChild');
    }
    list.scrollTop = list.scrollHeight;
  }
  const top = list.firstElementChild?.message.offset;
  const newer = view.end - view.next;
  const shown = list.childElementCount;
  const topic = known?.get(view.topic);
  if (topic?.stream === view.stream) view.first = Math.max(view.first, topic.first);
  list.setAttribute('aria-busy', view.readings > 0);
  setText($('range'), view.stream === null ? 'loading …' : [
    several(view.end - view.first, 'message'),
    view.first > 0 && view.end > view.first ? `${count(view.first)} to ${count(view.end - 1)}` : '',
    shown < view.end - view.first && shown > 0 ? `here ${count(top)} to ${count(view.next - 1)}` : '',
    view.note,
    view.readings > 0 ? 'loading …' : '',
  ].filter(Boolean).join(', '));
  setText($('kept'), topic ? `(${size(topic.bytes)}${bounds(topic)})` : '');
  const lags = standings.filter((each) => each.topic === view.topic).map(({ lag }) => lag);
  setText($('behind'), lags.length > 0
    ? `${several(lags.length, 'lasting subscription')}, at most ${count(Math.max(...lags))} behind` : '');
  $('earlier').disabled = !(top > view.first);
  $('newest').hidden = view.follows;
  setText($('newest'), newer > 0 ? `${count(newer)} newer: go to the end` : 'go to the end');
}

function clear() {
  list.replaceChildren();
  characters = 0;
}

function append(messages) {
  list.append(...messages.map(item));
  view.next = messages.at(-1).offset + 1;
}

/** Keeps the list short: takes away its first rows, or its last. */
function trim(end) {
  while (list.childElementCount > MESSAGES_MAX
      || (characters > CHARACTERS_MAX && list.childElementCount > 1)) {
    characters -= list[end].message.message.length;
    list[end].remove();
  }
}

/** A message as a line of the list. */
function item(message) {
  const { offset, time, publisher } = message;
  const element = make('li');
  element.message = message;
  element.tabIndex = -1;
  characters += message.message.length;
  const widest = `${String(offset).length}ch`;
  if (parseFloat(list.style.getPropertyValue('--offset') || 3) < parseFloat(widest)) {
    list.style.setProperty('--offset', widest);
  }
  const body = make('p');
  if (publisher !== null) {
    const name = make('b');
    name.append(make('bdi', publisher));
    // A color for each name: the same everywhere, and readable on light and on dark.
    const hue = [...publisher].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7);
    name.style.setProperty('--hue', hue);
    body.append(name);
  }
  const text = make('span');
  text.className = 'text';
  text.dir = 'auto';
  body.append(text);
  if (message.message.length > TEXT_MAX || isJson(message.message)) {
    const whole = make('button');
    whole.type = 'button';
    whole.className = 'whole';
    whole.onclick = () => showWhole(element, whole.ariaExpanded !== 'true');
    body.append(whole);
  }
  element.append(make('small', offset), when(time), body);
  showWhole(element, false);
  return element;
}

/** The exact time of a message, with its day where that is another than today. */
function when(time) {
  const date = new Date(time);
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} `;
  const today = date.toDateString() === new Date().toDateString();
  if (!today) list.style.setProperty('--time', '23ch');
  const clock = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':');
  const element = make('time',
    `${today ? '' : day}${clock}.${String(date.getMilliseconds()).padStart(3, '0')}`);
  element.dateTime = date.toISOString();
  return element;
}

/** Shows all of a message, JSON as a tree; or its beginning. */
function showWhole(element, whole) {
  const { message } = element.message;
  const text = element.querySelector('.text');
  const button = element.querySelector('.whole');
  const json = button && isJson(message);
  if (whole && json) text.replaceChildren(tree(message));
  else text.replaceChildren(...linked(whole ? message : message.slice(0, TEXT_MAX)));
  if (!button) return;
  button.ariaExpanded = whole;
  const rest = message.length > TEXT_MAX ? `… all ${count(message.length)} characters` : 'unfold';
  button.textContent = whole ? 'fold' : rest;
}

function isJson(message) {
  if (!/^\s*[[{]/.test(message) || message.length > 10 * TOKENS_MAX) return false;
  try {
    return Boolean(JSON.parse(message));
  } catch {
    return false;
  }
}

/** JSON as nested parts that fold. Numbers stay as they were written. */
function tree(message) {
  const tokens = message.match(/"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\],:]|[^\s{}[\],:"]+/g);
  if (tokens.length > TOKENS_MAX) return message;
  const value = (token) => (token[0] === '"' ? `"${JSON.parse(token)}"` : token);
  const outer = [];
  let inside = { body: make('span'), size: 0 };
  let key = '';
  tokens.forEach((token, index) => {
    if (token === ',' || token === ':') return;
    if (tokens[index + 1] === ':') {
      key = `${JSON.parse(token)}: `;
    } else if (token === '}' || token === ']') {
      inside.size_node.textContent = `${inside.open}${count(inside.size)}${token}`;
      inside = outer.pop();
    } else {
      inside.size += 1;
      const line = make(token === '{' || token === '[' ? 'summary' : 'div');
      line.append(make('i', key));
      key = '';
      if (line.localName === 'div') {
        line.append(...linked(value(token)));
        inside.body.append(line);
        return;
      }
      const part = make('details');
      part.open = outer.length < 2;
      const body = make('div');
      body.className = 'inner';
      const size_node = make('small');
      line.append(size_node);
      part.append(line, body);
      inside.body.append(part);
      outer.push(inside);
      inside = { body, size: 0, size_node, open: token };
    }
  });
  return inside.body;
}

/** Text in which addresses can be followed: into another tab, which learns nothing of this one. */
function linked(text) {
  const parts = [];
  let end = 0;
  for (const { 0: found, index } of text.matchAll(/\bhttps?:\/\/[^\s<>"'`{}|\\^]+/g)) {
    const href = found.replace(/[).,;:!?\]]+$/, '');
    const link = Object.assign(make('a', href), { href, target: '_blank' });
    link.rel = 'noopener noreferrer nofollow';
    parts.push(text.slice(end, index), link);
    end = index + href.length;
  }
  return [...parts, text.slice(end)];
}

/** What a topic keeps, where that is bounded. */
function bounds({ keep_messages, keep_bytes, keep_for }) {
  const kept = [
    keep_messages && several(keep_messages, 'message'), keep_bytes && size(keep_bytes), keep_for,
  ].filter(Boolean);
  return kept.length > 0 ? `; keeps ${kept.join(', ')}` : '';
}

/** Says to a screen reader what came: one message in full, several as a number. */
let unsaid = 0;
let latest;
let said = 0;
function announce(message) {
  unsaid += 1;
  latest = message;
  if (unsaid > 1) return;
  setTimeout(() => {
    const { publisher, message } = latest;
    $('heard').textContent = unsaid > 1 ? `${count(unsaid)} new messages`
      : `${publisher === null ? '' : `${publisher}: `}${message.slice(0, 200)}`;
    unsaid = 0;
    said = performance.now();
  }, Math.max(200, said + SPEECH_PAUSE - performance.now()));
}

/** Does one reading after another, so that no press is lost, and says that something loads. */
function inTurn(reading) {
  const here = view;
  here.readings += 1;
  drawSoon();
  here.turn = here.turn.then(async () => {
    try {
      if (here === view) await reading(here);
      if (here === view && $('failure').textContent.startsWith(NOT_READ)) fail('');
    } catch (error) {
      if (here === view) fail(`${NOT_READ}${error.message}`);
    }
    here.readings -= 1;
    drawSoon();
  });
}

/** The messages from offset `from` up to `to`; nothing where somebody has gone elsewhere. */
async function read(here, from, to) {
  const found = [];
  if (from >= to) return found;
  // A connection that died says nothing; a slow one is through by then.
  const signal = AbortSignal.timeout(3 * SILENCE_MAX);
  const answer = await ask(`events?topic=${encodeURIComponent(here.topic)}&from=${from}`, { signal });
  await events(answer, ({ event, data }) => {
    if (event === 'reset' || event === 'trimmed') return false;
    if (data) found.push(JSON.parse(data));
    return found.length < to - from;
  });
  return here === view ? found : [];
}

/** Adds older messages before those that are shown. */
function earlier() {
  inTurn(async (here) => {
    const top = list.firstElementChild?.message.offset ?? 0;
    here.follows = false;
    const messages = await read(here, Math.max(here.first, top - here.page), top);
    if (messages.length === 0 || list.firstElementChild?.message.offset !== top) return;
    const height = list.scrollHeight;
    list.prepend(...messages.map(item));
    // The last of the older ones come into sight, just above what was the first line.
    list.scrollTop = list.scrollHeight - height - list.clientHeight / 2;
    trim('lastElementChild');
    here.next = list.lastElementChild.message.offset + 1;
    list.focus();
  });
}

/** Adds newer messages after those that are shown. */
function later() {
  if (view.readings > 0) return;
  inTurn(async (here) => {
    const { next } = here;
    const messages = await read(here, next, Math.min(next + here.page, here.end));
    if (messages.length === 0 || here.next !== next) return;
    append(messages);
    const height = list.scrollHeight;
    trim('firstElementChild');
    list.scrollTop -= height - list.scrollHeight;
    settle();
  });
}

/** The offset that a text means: an offset, `-N` for the last N, or a time as in `since`. */
async function meant(here, text) {
  if (/^\d+$/.test(text)) return Number(text);
  if (/^-\d+$/.test(text)) return here.end + Number(text);
  const query = `topic=${encodeURIComponent(here.topic)}&since=${encodeURIComponent(text)}`;
  const answer = await ask(`messages?${query}&format=json&limit=1`);
  const line = await answer.text();
  return line ? JSON.parse(line).offset : here.end;
}

/** Shows the messages from an offset or a time on. */
function jump(text) {
  inTurn(async (here) => {
    const from = Math.max(await meant(here, text), here.first);
    if (from >= here.end) return void $('newest').onclick();
    const messages = await read(here, from, Math.min(from + here.page, here.end));
    if (messages.length === 0) return;
    here.follows = false;
    clear();
    append(messages);
    list.scrollTop = 0;
    settle();
    list.focus();
  });
}

/** Decides, from where somebody has scrolled to, whether the list follows its topic. */
let top = 0;
function settle() {
  if (!view) return;
  const left = list.scrollHeight - list.clientHeight - list.scrollTop;
  if (left > 30) {
    // Rows and windows change their height as well; only a person scrolls up.
    if (list.scrollTop < top) view.follows = false;
  } else if (view.next >= (view.recent[0]?.offset ?? view.end)) {
    view.follows = true;
  } else {
    later();
  }
  top = list.scrollTop;
  drawSoon();
}

list.addEventListener('scroll', settle);
new ResizeObserver(drawSoon).observe(list);
$('earlier').onclick = earlier;
$('newest').onclick = () => {
  view.follows = true;
  list.focus();
  drawSoon();
};
$('jump').addEventListener('submit', (event) => {
  event.preventDefault();
  jump($('from').value.trim());
});

// The tools stand in the message that is looked at: by pointer, by touch or by keyboard.
const tools = $('tools');
function lookAt(event) {
  const element = event.target.closest('li');
  if (!element || element.parentElement !== list || tools.parentElement === element) return;
  element.append(tools);
  tools.hidden = false;
}
list.addEventListener('pointerover', lookAt);
list.addEventListener('focusin', lookAt);
list.addEventListener('click', lookAt);
list.addEventListener('keydown', (event) => {
  const { key, target } = event;
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const element = target.closest('li');
  if (key === 'ArrowDown' || key === 'ArrowUp') {
    const next = element === null ? list.lastElementChild
      : key === 'ArrowDown' ? element.nextElementSibling : element.previousElementSibling;
    if (key === 'ArrowUp' && element === null) view.follows = false;
    next?.focus();
  } else if (key === 'Enter' && target === element) {
    element.querySelector('.whole')?.click();
  } else if (key === 'Escape' && element !== null) {
    list.focus();
  } else {
    return;
  }
  event.preventDefault();
  event.stopPropagation();
});

$('copy').onclick = async () => {
  const { message } = tools.closest('li').message;
  try {
    await navigator.clipboard.writeText(message);
  } catch {
    // Over plain HTTP from another machine there is no clipboard but the one of a selection.
    const box = Object.assign(make('textarea'), { value: message });
    tools.append(box);
    box.select();
    document.execCommand('copy');
    box.remove();
  }
  $('copy').textContent = 'Copied';
  setTimeout(() => { $('copy').textContent = 'Copy'; }, 1500);
};


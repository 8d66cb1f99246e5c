// The broker's page. Its files are joined in this order: how it asks the broker, the table of
// topics, the overview, the list of messages, how that list follows its topic, what a person can
// do, and what the address says.
//
// Whatever people wrote reaches the document as text, never as markup. Addresses are relative, so
// the page works below any path of a proxy. Messages wait for the next frame and are drawn
// together; the list holds a window of the topic, so neither a fast topic nor a long one makes the
// page slow.

const ROWS_STEP = 200;            // rows in the table of topics at first, and with each step
const SAMPLES = 60;               // points of a rate's line, about one a second
const PAGE = 200;                 // messages read at first, and again with each click
const PAGE_SIZE = 2_000_000;      // bytes of them, where messages are long
const MESSAGES_MAX = 600;         // messages in the list
const CHARACTERS_MAX = 20_000_000; // characters of them all
const TEXT_MAX = 600;             // characters of a message that are shown at first
const TOKENS_MAX = 20_000;        // parts of a JSON message that is shown as a tree
const SILENCE_MAX = 40_000;       // ms; the broker sends a comment every 15 s at least
const HIDDEN_MAX = 60_000;        // ms; then a tab that nobody sees gives its connection back
const PAUSE_MAX = 15_000;         // ms between two attempts
const SPEECH_PAUSE = 3_000;       // ms between two sentences for a screen reader

const $ = (id) => document.getElementById(id);
const count = (number) => number.toLocaleString();
const make = (name, text = '') => Object.assign(document.createElement(name), { textContent: text });
const several = (number, what) => `${count(number)} ${what}${number === 1 ? '' : 's'}`;
const setText = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};

let token = sessionStorage.getItem('token');
let unlocking = null;
let unlocked;

/** An answer that is not a success; its message is what the broker says. */
class Refused extends Error {}

/** Fetches, with the token where there is one, and asks for it where the broker does. */
async function ask(path, options = {}) {
  for (;;) {
    const used = token;
    const headers = { ...options.headers };
    if (used) headers.Authorization = `Bearer ${used}`;
    const answer = await fetch(path, { ...options, headers, cache: 'no-store' });
    if (answer.ok) return answer;
    if (answer.status !== 401) throw new Refused(await reason(answer));
    // Another request may have got a new token meanwhile.
    if (used === token) await unlock(used);
  }
}

let rightsOf; // the token whose rights are shown

/** Hides what the token may not do with a topic, as the broker says. */
async function showRights(topic, signal) {
  const used = token;
  const answer = await ask(resource(topic), { method: 'OPTIONS', signal });
  const allowed = answer.headers.get('Allow') ?? 'POST, PUT, DELETE';
  for (const [id, method] of [
    ['publish', 'POST'], ['create', 'PUT'], ['keep', 'PUT'], ['let-go', 'DELETE'], ['delete', 'DELETE'],
  ]) {
    $(id).hidden = !allowed.includes(method);
  }
  rightsOf = used;
}

/** Why the broker refused. */
async function reason(answer) {
  const problem = await answer.json().catch(() => ({}));
  return problem.detail ?? `${answer.status} ${answer.statusText}`;
}

/** Waits until somebody has typed a token that is right. */
function unlock(used) {
  unlocking ??= new Promise((resolve) => {
    unlocked = resolve;
    say('waiting', 'locked');
    document.body.classList.add('locked');
    $('why').textContent =
      used ? 'The token of this tab is not valid any more.' : 'It is kept for this tab only.';
    $('locked').showModal();
  });
  return unlocking;
}

$('key').addEventListener('submit', async (event) => {
  event.preventDefault();
  const button = $('key').querySelector('button');
  if (button.disabled) return;
  const given = $('token').value;
  button.disabled = true;
  $('why').textContent = 'Checking …';
  try {
    const headers = { Authorization: `Bearer ${given}` };
    const answer = await fetch('topics', { headers, cache: 'no-store' });
    // A token without the right to read is a token all the same.
    if (answer.ok || answer.status === 403) {
      token = given;
      sessionStorage.setItem('token', token);
      $('token').value = '';
      $('locked').close();
      document.body.classList.remove('locked');
      say('waiting', 'connecting');
      unlocking = null;
      unlocked();
    } else {
      $('why').textContent =
        answer.status === 401 ? 'That is not the token.' : await reason(answer);
      $('token').select();
    }
  } catch {
    $('why').textContent = 'The broker does not answer. Try again.';
  }
  button.disabled = false;
});

// Nothing works without the token, so the dialog cannot be left.
$('locked').addEventListener('cancel', (event) => event.preventDefault());
$('locked').addEventListener('keydown', (event) => {
  if (event.key === 'Escape') event.preventDefault();
});

/** Shows the state of the connection: waiting, live or lost, and in words. */
function say(state, words) {
  if ($('state').textContent === words) return;
  $('state').dataset.state = state;
  $('state').textContent = words;
}

function lost(error) {
  say('lost', `${error instanceof Refused ? error.message : 'lost'}: trying again`);
}

/** Waits, until the page is shown again or the network is back at the latest; null: only so. */
let wake = () => {};
function pause(time) {
  return new Promise((resolve) => {
    wake = resolve;
    if (time !== null) setTimeout(resolve, time);
  });
}

/** A line that shows how a number went, on a drawing as wide as its samples. */
class Curve {
  constructor() {
    this.samples = [];
    this.svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    this.svg.setAttribute('viewBox', `0 0 ${SAMPLES - 1} 20`);
    this.svg.setAttribute('preserveAspectRatio', 'none');
    this.svg.setAttribute('aria-hidden', 'true');
    this.line = document.createElementNS(this.svg.namespaceURI, 'polyline');
    this.line.setAttribute('vector-effect', 'non-scaling-stroke');
    this.svg.append(this.line);
  }

  add(sample) {
    this.samples.push(sample);
    if (this.samples.length > SAMPLES) this.samples.shift();
    const top = Math.max(1, ...this.samples);
    const first = SAMPLES - this.samples.length;
    const height = (sample) => (19 - 18 * sample / top).toFixed(1);
    const points = this.samples.map((each, index) => `${first + index},${height(each)}`);
    this.line.setAttribute('points', points.join(' '));
  }
}

/** A rate in words: messages a second. */
function pace(rate) {
  return `${rate < 0.05 || rate >= 10 ? count(Math.round(rate)) : rate.toFixed(1)}/s`;
}


// --- The overview --------------------------------------------------

const totals = {}; // of messages published and delivered, when the broker was last asked
const curves = { published: new Curve(), delivered: new Curve() };
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

const STANDINGS_SHOWN = 20;
let standings = []; // lasting subscriptions, those that are furthest behind first
let standingsDue = 0;

/** Asks where lasting subscriptions stand; a token may not be allowed to know. */
async function readStandings(signal) {
  const begun = performance.now();
  if (begun < standingsDue) return;
  standings = await ask('subscribers', { signal }).then((answer) => answer.json(), () => []);
  standings.sort((a, b) => b.lag - a.lag);
  // A long list is asked for less often.
  standingsDue = performance.now() + Math.max(5_000, 20 * (performance.now() - begun));
}

/** A lasting subscription as a line. */
function standing({ subscriber, topic, lag, connected, last_seen: seen }) {
  const line = make('p');
  const link = Object.assign(make('a'), { href: address(topic) });
  link.append(make('bdi', topic));
  line.append(make('bdi', subscriber), ' in ', link,
    `: ${count(lag)} behind, ${connected ? 'connected' : `away for ${age(seen)}`}`);
  return line;
}

/** Shows how the broker is, where no topic is open. */
async function drawOverview(signal) {
  const text = await (await ask('metrics', { signal })).text();
  const samples = new Map(text.split('\n').filter((line) => line && line[0] !== '#').map((line) => {
    const end = line.lastIndexOf(' ');
    return [line.slice(0, end), Number(line.slice(end + 1))];
  }));
  const ready = await fetch('readyz', { signal, cache: 'no-store' });
  const of = (name) => samples.get(name) ?? 0;
  const all = (name) => [...samples].filter(([key]) => key.startsWith(`${name}{`));
  const facts = [];
  const fact = (name, ...parts) => facts.push([name, parts]);

  const state = ready.ok ? 'takes publishes' : await reason(ready);
  fact('State', state);
  const [[version]] = all('broker_build_info');
  fact('Version', /version="([^"]*)"/.exec(version)?.[1] ?? '');
  const started = of('process_start_time_seconds') * 1000;
  fact('Running', `for ${age(started)}, since ${moment.format(started)}`);
  const [used, limit] = [of('broker_store_size_bytes'), of('broker_store_limit_bytes')];
  const meter = Object.assign(make('meter'), { max: limit, high: 0.9 * limit, value: used });
  meter.setAttribute('aria-label', 'memory for messages');
  fact('Memory', `${size(used)} of ${size(limit)} for messages`, meter);
  fact('Kept', samples.has('broker_journal_size_bytes')
    ? `on disk: ${size(of('broker_journal_size_bytes'))}`
    : 'in memory only: a restart forgets all messages');
  fact('Topics', count(of('broker_topics')));
  fact('Connections', all('broker_connections')
    .map(([key, open]) => `${/"([^"]*)"/.exec(key)[1]} ${count(open)}`).join(', '));
  fact('Subscriptions', count(of('broker_subscriptions')));
  if (standings.length > 0) {
    const rest = standings.length - STANDINGS_SHOWN;
    fact('Lasting', ...standings.slice(0, STANDINGS_SHOWN).map(standing),
      ...(rest > 0 ? [make('p', `and ${count(rest)} more`)] : []));
  }
  const now = performance.now();
  for (const name of ['published', 'delivered']) {
    const total = of(`broker_messages_${name}_total`);
    const rate = Math.max(0, total - (totals[name] ?? total)) * 1000 / (now - totals.at || 1000);
    totals[name] = total;
    curves[name].add(rate);
    fact(name === 'published' ? 'Published' : 'Delivered',
      `${pace(rate)}, ${count(total)} in all`, curves[name].svg);
  }
  totals.at = now;
  const refused = all('broker_refusals_total').reduce((sum, [, value]) => sum + value, 0);
  fact('Refused', several(refused, 'request'));

  $('facts').replaceChildren(...facts.flatMap(([name, parts]) => {
    const value = make('dd');
    value.append(...parts);
    value.classList.toggle('bad', name === 'State' && !ready.ok);
    return [make('dt', name), value];
  }));
}

/** A number of bytes, with its unit. */
function size(bytes) {
  const step = bytes < 1000 ? 0 : Math.min(4, Math.floor(Math.log10(bytes) / 3));
  const number = bytes / 1000 ** step;
  return `${step > 0 && number < 10 ? number.toFixed(1) : count(Math.round(number))} ${
    ['bytes', 'kB', 'MB', 'GB', 'TB'][step]}`;
}


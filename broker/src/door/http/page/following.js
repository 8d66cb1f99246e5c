// --- Following the topic -------------------------------------------

/** Follows a topic for as long as it is open, whatever happens to the connection. */
async function keepUp(here) {
  for (let attempt = 0; here === view; attempt += 1) {
    try {
      await follow(here, () => { attempt = 0; });
      if (here === view) lost();
    } catch (error) {
      if (here === view) lost(error);
    }
    here.live = false;
    if (document.hidden) say('waiting', 'paused while nobody looks');
    const time = Math.min(PAUSE_MAX, here.retry * 2 ** attempt) * (0.5 + Math.random() / 2);
    // A page that is not seen does not try: it wakes up when it is.
    await pause(document.hidden ? null : time);
  }
}

/** Follows a topic until the connection ends. */
async function follow(here, connected) {
  const connection = here.connection = new AbortController();
  const { signal } = connection;
  let silence;
  const heard = () => {
    clearTimeout(silence);
    silence = setTimeout(() => connection.abort(), SILENCE_MAX);
  };
  heard();
  try {
    const query = `topic=${encodeURIComponent(here.topic)}`;
    const { headers: now } = await ask(`messages?${query}`, { method: 'HEAD', signal });
    await showRights(here.topic, signal);
    const [stream, end] = [now.get('Stream-Id'), Number(now.get('Stream-Next-Offset'))];
    const first = Number(now.get('Stream-First-Offset'));
    const average = Number(now.get('Content-Length')) / Math.max(end - first, 1);
    here.page = Math.min(PAGE, Math.max(10, Math.floor(PAGE_SIZE / average)));
    const headers = { Accept: 'text/event-stream' };
    let place = '';
    if (here.id && stream === here.stream && end - here.end <= here.page) {
      headers['Last-Event-ID'] = here.id;
    } else {
      // Before the first event, after a long while, or for a topic that was created again.
      const from = Math.max(first, end - here.page);
      if (stream !== here.stream) begin(here, stream, from);
      here.known ??= end;
      here.recent = [];
      here.size = 0;
      place = `&from=${from}`;
    }
    here.first = first;
    const answer = await ask(`events?${query}${place}`, { headers, signal });
    here.live = true;
    stand(here);
    // What went wrong before is over.
    fail('');
    connected();
    await events(answer, ({ event, data, id, retry }) => {
      if (here !== view) return false;
      here.id = id ?? here.id;
      here.retry = Number(retry ?? here.retry);
      if (event === 'reset') begin(here, JSON.parse(data).stream, JSON.parse(data).next);
      // What was let go before it came here leaves a gap, and the list begins behind it.
      else if (event === 'trimmed') here.first = here.end = JSON.parse(data).next;
      else if (data) take(JSON.parse(data));
      return true;
    }, heard);
  } finally {
    clearTimeout(silence);
  }
}

/** A topic that nobody has published to, or that was deleted, has a stream id of zeros. */
const exists = (stream) => Number(`0x${stream ?? 0}`) > 0;

/** Empties the list, because the topic is another one now, or was just opened. */
function begin(here, stream, from) {
  if (exists(here.stream)) here.again = true;
  Object.assign(here, {
    stream, first: from, next: from, end: from, recent: [], size: 0, follows: true, since: performance.now(),
  });
  here.gone = here.again && !exists(stream);
  clear();
  stand(here);
}

/** Takes from a list of all topics, asked for at the time `begun`, whether this one is missing. */
function notice(here, missing, begun) {
  if (!exists(here.stream) || begun < here.since || missing === here.gone) return;
  here.gone = missing;
  stand(here);
}

/** Says how things stand with the open topic. */
function stand(here) {
  here.note = here.gone ? 'this topic was deleted'
    : here.again ? 'this topic was deleted and created again'
    : exists(here.stream) ? '' : 'there is no such topic yet';
  if (here.live) say(here.gone ? 'lost' : 'live', here.gone ? 'deleted' : 'live');
  drawSoon();
}

/** Reads server-sent events until they end or `handle` returns false. */
async function events(answer, handle, heard = () => {}) {
  const reader = answer.body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  let event = {};
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    heard();
    const lines = (rest + decoder.decode(value, { stream: true })).split(/\r?\n/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === '') {
        if (!handle(event)) return void reader.cancel();
        event = {};
      } else {
        // `s`: U+2028 ends no line here.
        const [, field, text] = /^([^:]*):? ?(.*)$/s.exec(line);
        event[field] = field === 'data' && 'data' in event ? `${event.data}\n${text}` : text;
      }
    }
  }
}


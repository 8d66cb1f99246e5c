// --- What a person can do ------------------------------------------

let sending = Promise.resolve();

/** Says what went wrong with the open topic; nothing where all is well. */
function fail(words) {
  setText($('failure'), words);
}

/** The messages in the box: one a line. A line break at the end begins none. */
function typed() {
  return $('message').value.replace(/\n$/, '').split('\n');
}

$('message').addEventListener('input', () => {
  const messages = typed().length;
  setText($('lines'), messages > 1 ? `${count(messages)} messages, one a line` : 'Message');
});
$('message').addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $('publish').requestSubmit();
});

$('publish').addEventListener('submit', (event) => {
  event.preventDefault();
  const messages = typed();
  if (messages.join('') === '') return;
  const publish = { topic: view.topic, messages };
  const publisher = $('publisher').value.trim();
  if (publisher) publish.publisher = publisher;
  sessionStorage.setItem('publisher', publisher);
  write('');
  fail('');
  // One after another, so that they arrive in the order in which they were typed.
  sending = sending.then(() => send(publish));
});

/** Puts text into the box. */
function write(text) {
  $('message').value = text;
  $('message').dispatchEvent(new Event('input'));
}

async function send(publish) {
  try {
    const headers = { 'Content-Type': 'application/json' };
    await ask('publish', { method: 'POST', headers, body: JSON.stringify(publish) });
  } catch (error) {
    if (view?.topic !== publish.topic) return;
    fail(error instanceof Refused ? `not published: ${error.message}`
      : 'no answer: this may or may not have been published');
    if ($('message').value === '') write(publish.messages.join('\n'));
  }
}

/**
 * Asks a person, and does `act` with what the fields hold; what it throws is shown, and the
 * question stays. A field is `{ name, label, value, … }`, the rest of it as of an input.
 */
function question({ title, text = '', fields = [], action, danger = false, act }) {
  $('asked').textContent = title;
  $('explained').textContent = text;
  $('refused').textContent = '';
  $('confirm').textContent = action;
  $('confirm').classList.toggle('danger', danger);
  $('fields').replaceChildren(...fields.map(({ name, label, ...rest }) => {
    const input = Object.assign(make('input'), { id: `field-${name}`, autocomplete: 'off' }, rest);
    input.spellcheck = false;
    const field = make('div');
    field.append(Object.assign(make('label', label), { htmlFor: input.id }), input);
    return field;
  }));
  $('question').act = () =>
    act(...fields.map(({ name }) => $(`field-${name}`).value));
  $('question').showModal();
  ($('fields').querySelector('input') ?? $('cancel')).focus();
}

$('question').addEventListener('submit', async (event) => {
  event.preventDefault();
  if ($('confirm').disabled) return;
  $('confirm').disabled = true;
  try {
    await $('question').act();
    $('question').close();
    poll();
  } catch (error) {
    $('refused').textContent = error.message;
  }
  $('confirm').disabled = false;
});
$('cancel').onclick = () => $('question').close();

$('create').onclick = () => question({
  title: 'New topic',
  fields: [{ name: 'name', label: 'Name', value: $('wanted').value.trim(), required: true }],
  action: 'Create',
  act: async (name) => {
    await ask(resource(name), { method: 'PUT' });
    $('wanted').value = '';
    location.hash = address(name);
  },
});

$('keep').onclick = () => {
  const { topic } = view;
  const now = known.get(topic) ?? {};
  const names = ['keep_messages', 'keep_bytes', 'keep_for'];
  const values = names.map((name) => String(now[name] ?? ''));
  const labels = ['Messages', 'Bytes, such as 64M', 'Time, such as 90s, 12h, 7d'];
  question({
    title: 'What this topic keeps',
    text: 'The oldest messages beyond a bound are removed for everybody. An empty field keeps all; '
      + '“default” takes the bound of the broker.',
    fields: names.map((name, index) => ({ name, label: labels[index], value: values[index] })),
    action: 'Change',
    act: (...given) => {
      const changes = names.map((name, index) => [name, given[index].trim()])
        .filter(([, text], index) => text !== values[index])
        .map(([name, text]) => [name, text === '' ? null : /^\d+$/.test(text) ? Number(text) : text]);
      const headers = { 'Content-Type': 'application/json' };
      const body = JSON.stringify(Object.fromEntries(changes));
      return ask(resource(topic), { method: 'PUT', headers, body });
    },
  });
};

$('let-go').onclick = () => {
  const { topic, end } = view;
  const top = list.firstElementChild?.message.offset ?? 0;
  question({
    title: 'Remove messages?',
    text: 'All messages before this offset are removed for everybody, for ever. The others keep their '
      + 'offsets.',
    fields: [{
      name: 'before', label: `Before offset (up to ${end})`, value: top, required: true,
      inputMode: 'numeric', pattern: '[0-9]{1,15}',
    }],
    action: 'Remove',
    danger: true,
    act: (before) => ask(`${resource(topic)}/messages?before=${before}`, { method: 'DELETE' }),
  });
};

$('delete').onclick = () => {
  const { topic, first, end } = view;
  question({
    title: 'Delete this topic?',
    text: `\u2068${topic}\u2069 and its ${several(end - first, 'message')} are deleted for everybody, for ever.`,
    action: 'Delete',
    danger: true,
    act: () => ask(resource(topic), { method: 'DELETE' }),
  });
};

/** The path of a topic as a resource. */
function resource(topic) {
  return `topics/${encodeURIComponent(topic)}`;
}

/** Saves the messages that the list shows as a file. */
function save(extension, type, text) {
  const messages = [...list.children].map(({ message }) => message);
  const link = make('a');
  link.href = URL.createObjectURL(new Blob([text(messages)], { type }));
  link.download = `${view.topic}.${extension}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

$('save-text').onclick = () => save('txt', 'text/plain', (messages) =>
  messages.map(({ message }) => `${message}\n`).join(''));
$('save-json').onclick = () => save('json', 'application/json', (messages) =>
  `[${messages.map((message) => JSON.stringify(message)).join(',\n')}]\n`);

// A menu closes when something was chosen, or when somebody looks elsewhere.
document.addEventListener('click', (event) => {
  if (!$('menu').contains(event.target) || event.target.localName === 'button') {
    $('menu').open = false;
  }
});


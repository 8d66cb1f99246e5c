// --- The address, and the life of the page -------------------------

/** The address of a topic's page. */
function address(topic) {
  return `#${encodeURIComponent(topic)}`;
}

/** Opens the topic that the address names. */
function open() {
  let topic;
  try {
    topic = decodeURIComponent(location.hash.slice(1));
  } catch {
    topic = location.hash.slice(1);
  }
  view?.connection?.abort();
  view = topic === '' ? null : {
    topic, stream: null, first: 0, next: 0, end: 0, recent: [], size: 0, follows: true, page: PAGE, retry: 500,
    note: '', readings: 0, turn: Promise.resolve(), live: false, gone: false, again: false,
  };
  clear();
  list.removeAttribute('style');
  fail('');
  $('range').textContent = '';
  $('kept').textContent = '';
  $('from').value = '';
  $('newest').hidden = true;
  $('earlier').disabled = true;
  $('name').classList.remove('whole');
  $('name').querySelector('bdi').textContent = topic;
  $('topic').hidden = view === null;
  $('overview').hidden = view !== null;
  document.body.classList.toggle('open', view !== null);
  // Isolated, so that a name from right to left does not turn the rest round.
  document.title = view ? `\u2068${topic}\u2069 – Broker` : 'Broker';
  for (let end = topic.indexOf('/'); end >= 0; end = topic.indexOf('/', end + 1)) {
    unfolded.add(topic.slice(0, end + 1));
  }
  drawTopics();
  say('waiting', 'connecting');
  if (view) keepUp(view);
  else poll();
}

$('name').onclick = () => $('name').classList.toggle('whole');

document.addEventListener('keydown', (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || document.querySelector('dialog[open]')) return;
  const writes = /^(input|textarea|select)$/.test(event.target.localName);
  if (event.key === '/' && !writes) {
    event.preventDefault();
    if (getComputedStyle($('topics')).display === 'none') location.hash = '';
    // On a small screen the box is there once the address has changed.
    setTimeout(() => $('wanted').focus());
  } else if (event.key === 'Escape' && $('menu').open) {
    $('menu').open = false;
  } else if (event.key === 'Escape' && view && !event.defaultPrevented) {
    if (writes) event.target.blur();
    else location.hash = '';
  }
});

let hiding;
document.addEventListener('visibilitychange', () => {
  clearTimeout(hiding);
  if (document.hidden) {
    hiding = setTimeout(() => view?.connection?.abort(), HIDDEN_MAX);
  } else {
    wake();
    poll();
  }
});
// A page that was left may be kept for a return: its connection is not, since a browser has few.
window.addEventListener('pagehide', () => view?.connection?.abort());
window.addEventListener('pageshow', ({ persisted }) => {
  if (!persisted) return;
  wake();
  poll();
});
window.addEventListener('online', () => wake());
window.addEventListener('hashchange', () => {
  open();
  if (view) $('name').focus();
  else $('wanted').focus();
});

$('where').textContent = location.host + location.pathname.replace(/\/$/, '');
$('publisher').value = sessionStorage.getItem('publisher') ?? '';
open();
poll();

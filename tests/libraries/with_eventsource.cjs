// Follows an event stream with npm's `eventsource`, or with `event-source-polyfill`.
//
// Both come back by themselves where a connection is lost. Where the answer is an error, as a
// proxy's is while the broker is away, they end, as a browser's does: then a new one is made, with
// the last id in the query.
const [folder, library, url] = process.argv.slice(2);
const load = require("node:module").createRequire(`${folder}/`);
const EventSource = load(library).EventSourcePolyfill || load(library).EventSource;

function follow(last) {
  const events = new EventSource(last ? `${url}&lastEventId=${encodeURIComponent(last)}` : url);
  events.onmessage = (event) => {
    const { offset, message } = JSON.parse(event.data);
    console.log(offset, message);
    last = event.lastEventId;
  };
  events.onerror = () => {
    if (events.readyState === 2) {
      events.close();
      setTimeout(() => follow(last), 100);
    }
  };
}

follow("");

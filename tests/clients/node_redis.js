// node-redis does the scenarios: node node_redis.js PORT PROTOCOL GROUP, JSON lines.
'use strict';

const { createClient, RESP_TYPES } = require('redis');
const { Inbox, NO_CALL, main } = require('./driver');

async function connect(port, protocol, login = {}) {
  const create = (more) => createClient({ RESP: protocol, socket: { port, host: '127.0.0.1', reconnectStrategy: false },
    commandOptions: { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer, [RESP_TYPES.MAP]: Map, [RESP_TYPES.SET]: Set } }, ...login, ...more });
  const [inbox, invalidations] = [new Inbox(), new Inbox()];
  let listener;
  let multi;
  let watching = 0;
  const start = async (more) => {
    const started = create(more);
    started.on('error', () => {});
    started.on('invalidate', (key) => invalidations.put(key));
    await started.connect();
    return started;
  };
  let client = await start({});
  const listenTo = (kind) => (message, channel) => inbox.put(kind, channel, message);
  return {
    end: async () => {
      if (client.isOpen) client.destroy();
      await listener?.end();
    },
    command: (...words) => client.sendCommand(words),
    watch: (...keys) => { watching = 1; return client.watch(keys); },
    begin: () => { multi = client.multi(); return null; },
    queue: (...words) => { multi.addCommand(words); return null; },
    exec: () => multi.exec(),
    discard: () => { multi = null; return watching; },
    // It knows channels by their text: one with other bytes is never heard.
    subscribe: (...channels) => (channels.some((channel) => String(channel).includes('\ufffd')) ? NO_CALL
      : client.subscribe(channels.map(String), listenTo('message'), true).then(() => channels.length)),
    psubscribe: (...patterns) => client.pSubscribe(patterns.map(String), listenTo('pmessage'), true).then(() => patterns.length),
    ssubscribe: (...channels) => client.sSubscribe(channels.map(String), listenTo('smessage'), true).then(() => channels.length),
    unsubscribe: (...channels) => client.unsubscribe(channels.map(String)),
    punsubscribe: (...patterns) => client.pUnsubscribe(patterns.map(String)),
    sunsubscribe: (...channels) => client.sUnsubscribe(channels.map(String)),
    heard: (count) => inbox.take(Number(count)),
    ping: () => client.ping(),
    refused: (...words) => client.sendCommand(words),
    flood: (channel, count) => {
      const pipe = client.multi();
      for (let i = 0; i < Number(count); i++) pipe.publish(channel, String(i));
      return pipe.execAsPipeline();
    },
    listen: async () => {
      if (protocol === 3) { // It turns tracking on by itself; what kind is the scenario's business.
        client.destroy();
        client = await start({ emitInvalidate: true });
        return client.sendCommand(['CLIENT', 'TRACKING', 'OFF']);
      }
      listener = await connect(port, 2);
      listener.id = await listener.command('CLIENT', 'ID');
      return listener.listenRaw();
    },
    // The library takes what a message says for a text; an invalidation is a list of keys, or nothing.
    listenRaw: () => client.subscribe('__redis__:invalidate', (message) => invalidations.put(message), true),
    takeInvalidations: (count) => invalidations.take(Number(count)),
    trackWords: () => (listener ? ['REDIRECT', String(listener.id)] : []),
    invalidated: (count) => (listener ? listener.takeInvalidations(count) : invalidations.take(Number(count))),
  };
}

main(connect);

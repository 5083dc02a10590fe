// ioredis does the scenarios: node ioredis.js PORT PROTOCOL GROUP, JSON lines. It tells nobody of RESP3's pushes,
// so invalidations are heard by a second connection.
'use strict';

const Redis = require('ioredis');
const { Inbox, main } = require('./driver');

async function connect(port, protocol, login = {}) {
  const client = new Redis({ port, host: '127.0.0.1', protocol, lazyConnect: true, enableReadyCheck: false, maxRetriesPerRequest: 0, retryStrategy: () => null, ...login });
  const inbox = new Inbox();
  let listener;
  let refused;
  client.on('error', (error) => { refused ??= error; });
  client.on('messageBuffer', (...message) => inbox.put('message', ...message));
  client.on('pmessageBuffer', (...message) => inbox.put('pmessage', ...message));
  client.on('smessageBuffer', (...message) => inbox.put('smessage', ...message));
  await client.connect();
  if (login.username) {
    await client.ping().catch((error) => { refused ??= error; });
    if (refused && !/NOPERM/.test(refused.message)) {
      client.disconnect();
      throw refused;
    }
  }
  let multi;
  return {
    end: async () => {
      client.disconnect();
      await listener?.end();
    },
    command: (...words) => client.callBuffer(...words.map((word, i) => (i === 0 ? String(word) : word))),
    watch: (...keys) => client.watch(...keys),
    begin: () => { multi = client.multi(); return null; },
    queue: (name, ...args) => {
      const typed = multi[`${String(name).toLowerCase()}Buffer`];
      if (typed) typed.apply(multi, args);
      else multi.call(String(name), ...args);
      return null;
    },
    exec: () => multi.exec(),
    discard: async () => { // The library queues on the server only without its pipeline.
      const started = await client.multi({ pipeline: false });
      return [started, await client.set('k', 'discarded'), await client.discard()];
    },
    subscribe: (...channels) => client.subscribe(...channels),
    psubscribe: (...patterns) => client.psubscribe(...patterns),
    ssubscribe: (...channels) => client.ssubscribe(...channels),
    unsubscribe: (...channels) => client.unsubscribe(...channels),
    punsubscribe: (...patterns) => client.punsubscribe(...patterns),
    sunsubscribe: (...channels) => client.sunsubscribe(...channels),
    heard: (count) => inbox.take(Number(count)),
    ping: () => client.ping(),
    refused: (name, ...args) => client.call(String(name), ...args),
    flood: (channel, count) => {
      const pipe = client.pipeline();
      for (let i = 0; i < Number(count); i++) pipe.publish(channel, String(i));
      return pipe.exec();
    },
    listen: async () => {
      listener = await connect(port, 2);
      listener.id = await listener.command('CLIENT', 'ID');
      return listener.subscribe('__redis__:invalidate');
    },
    trackWords: () => ['REDIRECT', String(listener.id)],
    invalidated: (count) => listener.heard(count),
  };
}

main(connect);

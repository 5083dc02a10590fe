// Valkey GLIDE does the scenarios: node valkey_glide.js PORT PROTOCOL GROUP, JSON lines. It subscribes in RESP3 only
// and drops invalidations, so what is heard of them is not in its transcript.
'use strict';

const { Batch, Decoder, GlideClient, Logger, ProtocolVersion } = require('@valkey/valkey-glide');
const { Inbox, NO_CALL, main } = require('./driver');

const TIMEOUT_MS = 10000;
Logger.setLoggerConfig('off');

async function connect(port, protocol, login) {
  const inbox = new Inbox();
  const client = await GlideClient.createClient({ addresses: [{ host: '127.0.0.1', port }], requestTimeout: TIMEOUT_MS, defaultDecoder: Decoder.Bytes,
    protocol: protocol === 3 ? ProtocolVersion.RESP3 : ProtocolVersion.RESP2, credentials: login && { username: login.username, password: login.password },
    connectionBackoff: { numberOfRetries: 1, factor: 100, exponentBase: 2 },
    ...(protocol === 3 && { pubsubSubscriptions: { channelsAndPatterns: {}, callback: ({ message, channel, pattern }) => inbox.put(message, channel, pattern) } }) });
  let batch;
  // Of a subscription that a user is refused it says nothing: it tries again until its time is over.
  const subscriber = (call) => (...names) => (protocol === 3 && !login ? call(names) : NO_CALL);
  return {
    end: () => client.close(),
    command: (...words) => client.customCommand(words),
    watch: (...keys) => client.watch(keys),
    begin: () => { batch = new Batch(true); return null; },
    queue: (...words) => { batch.customCommand(words); return null; },
    exec: () => client.exec(batch, false),
    discard: () => { batch = null; return null; },
    subscribe: subscriber((names) => client.subscribe(names, TIMEOUT_MS)),
    psubscribe: subscriber((names) => client.psubscribe(names, TIMEOUT_MS)),
    unsubscribe: subscriber((names) => client.unsubscribe(names, TIMEOUT_MS)),
    punsubscribe: subscriber((names) => client.punsubscribe(names, TIMEOUT_MS)),
    heard: (count) => inbox.take(Number(count)),
    ping: () => client.ping(),
    refused: (...words) => client.customCommand(words),
    flood: (channel, count) => {
      const pipe = new Batch(false);
      for (let i = 0; i < Number(count); i++) pipe.publish(String(i), channel);
      return client.exec(pipe, true);
    },
  };
}

main(connect);

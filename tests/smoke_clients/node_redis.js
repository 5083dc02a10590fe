// node-redis: node node_redis.js PORT PROTOCOL
'use strict';

const { createClient, RESP_TYPES } = require('redis');
const { caught, clientLine, main } = require('./show');

async function connect(port, protocol) {
  const client = createClient({ RESP: protocol, name: 'smoke', socket: { port, host: '127.0.0.1', reconnectStrategy: 20 } });
  client.on('error', () => {});
  await client.connect();
  client.end = () => client.destroy();
  return client;
}

const BYTES = Buffer.from([0, 255, 13, 10, 128, 0]);
const BIG = Buffer.alloc(10 * 1024 * 1024, 'pulse\0\xff', 'latin1');
const buffers = { [RESP_TYPES.BLOB_STRING]: Buffer };

const scenarios = {
  async handshake(client) {
    const id = await client.clientId();
    const list = await client.sendCommand(['CLIENT', 'LIST', 'ID', String(id)]);
    return [client.isReady, await client.ping(), await client.clientGetName(), clientLine(String(list)), id > 0];
  },
  async hello(client, _, protocol) {
    const { version, id, ...rest } = await client.hello(protocol);
    return [/^7\./.test(version), typeof id, rest];
  },
  async infoReadyCheck(client) {
    const info = await client.info();
    return ['redis_mode', 'loading', 'role', 'tcp_port'].map((name) => new RegExp(`^${name}:`, 'm').test(info));
  },
  async setAndGet(client) {
    return [await client.set('k', 'v'), await client.get('k'), await client.get('none'), await client.set('k', 'w', { condition: 'NX' }),
      await client.set('k', 'w', { GET: true }), await client.del(['k', 'none']), await client.exists('k'), await client.getDel('k')];
  },
  async binarySafe(client) {
    const binary = client.withTypeMapping(buffers);
    return [await client.set(BYTES, BYTES), await binary.get(BYTES), await binary.getRange(BYTES, 1, 2), await binary.keys('*'),
      await client.set('ü', 'ünïcode ✓'), await client.get('ü'), await client.strLen('ü')];
  },
  async msetAndMget(client) {
    return [await client.mSet({ a: '1', b: '2' }), await client.mGet(['a', 'none', 'b']), await client.mSetNX([['a', '3'], ['c', '4']]), await client.mGet(['a', 'c'])];
  },
  async counters(client) {
    return [await client.incr('n'), await client.incrBy('n', 41), await client.decr('n'), await client.incrByFloat('n', 0.5), await client.append('n', 'x'),
      await caught(client.incr('n'))];
  },
  async expiry(client) {
    await client.set('k', 'v', { expiration: { type: 'EX', value: 100 } });
    const left = await client.pTTL('k');
    return [left > 99000 && left <= 100000, await client.ttl('k'), await client.expire('k', 50), await client.ttl('k'), await client.persist('k'),
      await client.ttl('k'), await client.ttl('none'), await client.expire('none', 1), await client.pExpire('k', 1),
      await new Promise((done) => setTimeout(done, 20)), await client.get('k'), await client.expireTime('k')];
  },
  async scanIteration(client) {
    await client.mSet(Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`scan:${i}`, 'x'])));
    const found = [];
    for await (const keys of client.scanIterator({ MATCH: 'scan:*', COUNT: 50 })) found.push(...keys);
    const some = [];
    for await (const keys of client.scanIterator({ MATCH: 'scan:49*', TYPE: 'string' })) some.push(...keys);
    return [new Set(found).size, some.sort(), (await client.keys('scan:1?')).sort(), await client.dbSize()];
  },
  async largeValue(client) {
    return [await client.set('big', BIG), await client.withTypeMapping(buffers).get('big'), await client.strLen('big')];
  },
  async pipelineOfAThousand(client) {
    const replies = await Promise.all(Array.from({ length: 1000 }, (_, i) => (i % 3 ? client.incr('n') : client.set(`k${i}`, `v${i}`))));
    return [replies, await client.get('n'), await client.dbSize()];
  },
  async multiExec(client) {
    return [await client.multi().set('a', '1').incr('a').get('a').mGet(['a', 'none']).exec(), await client.multi().exec(),
      await caught(client.multi().set('w', 'x').incr('w').get('w').exec()), await client.get('w')];
  },
  async watchConflict(client, another) {
    const other = await another();
    await client.watch('k');
    await other.set('k', 'theirs');
    const lost = await caught(client.multi().set('k', 'mine').exec());
    await client.watch('k');
    const won = await client.multi().set('k', 'mine').exec();
    other.end();
    return [lost, won, await client.get('k')];
  },
  async errors(client) {
    return Promise.all([['NOSUCH', 'a', 'b'], ['GET'], ['SET', 'a'], ['SET', 'a', 'b', 'NONSENSE'], ['CLIENT', 'NOSUCH'], ['EXPIRE', 'a', 'x'], ['SELECT', '99'],
      ['EXEC'], ['DISCARD'], ['OBJECT', 'ENCODING'], ['SET', 'a', 'b', 'EX', '0'], ['GETRANGE', 'a', 'x', '1'], ['SCAN', 'x'], ['CONFIG', 'SET', 'nosuch', '1'],
      ['RENAME', 'none', 'x']].map((words) => caught(client.sendCommand(words))));
  },
  async databases(client) {
    const seen = [await client.set('k', 'zero'), await client.select(5), await client.get('k'), await client.set('k', 'five'), await client.move('k', 6)];
    await client.select(6);
    return [...seen, await client.get('k'), await client.select(0), await client.get('k'), await client.flushDb(), await client.dbSize()];
  },
  async clientList(client, another) {
    const other = await another();
    await other.clientSetName('second');
    const lines = String(await client.sendCommand(['CLIENT', 'LIST', 'TYPE', 'normal'])).trim().split('\n').map(clientLine);
    other.end();
    return lines.filter((line) => line.name !== '').map((line) => line.name).sort();
  },
  async reconnect(client, another) {
    const other = await another();
    await client.select(3);
    await client.set('k', 'before');
    const gone = new Promise((done) => client.once('reconnecting', done));
    const ready = new Promise((done) => client.once('ready', done));
    await other.sendCommand(['CLIENT', 'KILL', 'ID', String(await client.clientId())]);
    await gone;
    await ready;
    other.end();
    return [await client.get('k'), await client.clientGetName(), client.isReady];
  },
};

main(scenarios, connect);

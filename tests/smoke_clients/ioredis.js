// ioredis: node ioredis.js PORT PROTOCOL
'use strict';

const Redis = require('ioredis');
const { caught, clientLine, main } = require('./show');

async function connect(port, protocol) {
  const client = new Redis({ port, host: '127.0.0.1', protocol, connectionName: 'smoke', lazyConnect: true, retryStrategy: () => 20 });
  client.on('error', () => {});
  await client.connect();
  client.end = () => client.disconnect();
  client.flushAll = () => client.flushall();
  return client;
}

const BYTES = Buffer.from([0, 255, 13, 10, 128, 0]);
const BIG = Buffer.alloc(10 * 1024 * 1024, 'pulse\0\xff', 'latin1');

const scenarios = {
  async handshake(client) {
    const id = await client.client('ID');
    return [client.status, await client.ping(), await client.client('GETNAME'), clientLine(await client.client('LIST', 'ID', id)), id > 0];
  },
  async infoReadyCheck(client) {
    const info = await client.info();
    return ['redis_mode', 'loading', 'role', 'tcp_port'].map((name) => new RegExp(`^${name}:`, 'm').test(info));
  },
  async setAndGet(client) {
    return [await client.set('k', 'v'), await client.get('k'), await client.get('none'), await client.set('k', 'w', 'NX'), await client.set('k', 'w', 'GET'),
      await client.del('k', 'none'), await client.exists('k'), await client.getdel('k')];
  },
  async binarySafe(client) {
    return [await client.set(BYTES, BYTES), await client.getBuffer(BYTES), await client.getrangeBuffer(BYTES, 1, 2), await client.callBuffer('KEYS', '*'),
      await client.set('ü', 'ünïcode ✓'), await client.get('ü'), await client.strlen('ü')];
  },
  async msetAndMget(client) {
    return [await client.mset({ a: '1', b: '2' }), await client.mget('a', 'none', 'b'), await client.msetnx('a', '3', 'c', '4'), await client.mget(['a', 'c'])];
  },
  async counters(client) {
    return [await client.incr('n'), await client.incrby('n', 41), await client.decr('n'), await client.incrbyfloat('n', 0.5), await client.append('n', 'x'),
      await caught(client.incr('n'))];
  },
  async expiry(client) {
    await client.set('k', 'v', 'EX', 100);
    const left = await client.pttl('k');
    return [left > 99000 && left <= 100000, await client.ttl('k'), await client.expire('k', 50), await client.ttl('k'), await client.persist('k'),
      await client.ttl('k'), await client.ttl('none'), await client.expire('none', 1), await client.pexpire('k', 1),
      await new Promise((done) => setTimeout(done, 20)), await client.get('k'), await client.expiretime('k')];
  },
  async scanIteration(client) {
    await client.mset(Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`scan:${i}`, 'x'])));
    const found = [];
    for await (const keys of client.scanStream({ match: 'scan:*', count: 50 })) found.push(...keys);
    const some = [];
    for await (const keys of client.scanStream({ match: 'scan:49*', type: 'string' })) some.push(...keys);
    return [new Set(found).size, some.sort(), (await client.keys('scan:1?')).sort(), await client.dbsize()];
  },
  async largeValue(client) {
    return [await client.set('big', BIG), await client.getBuffer('big'), await client.strlen('big')];
  },
  async pipelineOfAThousand(client) {
    const pipeline = client.pipeline();
    for (let i = 0; i < 1000; i++) i % 3 ? pipeline.incr('n') : pipeline.set(`k${i}`, `v${i}`);
    return [await pipeline.exec(), await client.get('n'), await client.dbsize()];
  },
  async autoPipelining(client) {
    const replies = await Promise.all(Array.from({ length: 1000 }, () => client.incr('n')));
    return [replies[0], replies[999]];
  },
  async multiExec(client) {
    return [await client.multi().set('a', '1').incr('a').get('a').mget('a', 'none').exec(), await client.multi().exec(),
      await caught(client.multi().set('w', 'x').incr('w').get('w').exec()), await client.get('w'),
      await caught(client.multi().set('a').get('a').exec()), await client.get('a'),
      await client.multi({ pipeline: false }), await client.set('a', '5'), await client.get('a'), await client.exec()];
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
      ['RENAME', 'none', 'x']].map((words) => caught(client.call(...words))));
  },
  async databases(client) {
    const seen = [await client.set('k', 'zero'), await client.select(5), await client.get('k'), await client.set('k', 'five'), await client.move('k', 6)];
    await client.select(6);
    return [...seen, await client.get('k'), await client.select(0), await client.get('k'), await client.flushdb(), await client.dbsize()];
  },
  async clientList(client, another) {
    const other = await another();
    await other.client('SETNAME', 'second');
    const lines = (await client.client('LIST', 'TYPE', 'normal')).trim().split('\n').map(clientLine);
    other.end();
    return lines.map((line) => line.name).filter((name) => name !== '').sort();
  },
  async reconnect(client, another) {
    const other = await another();
    await client.select(3);
    await client.set('k', 'before');
    const gone = new Promise((done) => client.once('reconnecting', done));
    const ready = new Promise((done) => client.once('ready', done));
    await other.client('KILL', 'ID', await client.client('ID'));
    await gone;
    await ready;
    other.end();
    return [await client.get('k'), await client.client('GETNAME'), client.status];
  },
};

main(scenarios, connect);

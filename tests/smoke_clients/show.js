// What a scenario returned, as JSON that is the same for the same visible result.
'use strict';

const { createHash } = require('node:crypto');

function show(value) {
  if (value === undefined) return 'undefined';
  if (value instanceof Error) return { error: value.message, kind: value.constructor.name };
  if (Buffer.isBuffer(value)) {
    return { buffer: value.length > 64 ? createHash('sha1').update(value).digest('hex') : value.toString('hex'), size: value.length };
  }
  if (typeof value === 'bigint') return { bigint: String(value) };
  if (typeof value === 'string' && value.length > 4096) return { text: createHash('sha1').update(value).digest('hex'), size: value.length };
  if (value instanceof Map) return { map: [...value].map(show) };
  if (value instanceof Set) return { set: [...value].map(show) };
  if (Array.isArray(value)) return value.map(show);
  if (value && typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, show(v)]));
  return value;
}

// The names of fields of a line of CLIENT LIST that Redis 7.0 has as well.
const CLIENT_FIELDS = ['name', 'db', 'sub', 'psub', 'multi', 'resp', 'user', 'cmd'];

function clientLine(line) {
  const fields = Object.fromEntries(line.trim().split(' ').map((field) => field.split(/=(.*)/s)));
  return Object.fromEntries(CLIENT_FIELDS.map((name) => [name, fields[name]]));
}

async function caught(promise) {
  try {
    return await promise;
  } catch (error) {
    return error;
  }
}

// Runs all scenarios in turn, each with an empty server, and prints one JSON object: name -> what it showed.
async function main(scenarios, connect) {
  const [port, protocol] = process.argv.slice(2).map(Number);
  const results = {};
  for (const [name, scenario] of Object.entries(scenarios)) {
    const client = await connect(port, protocol);
    try {
      await client.flushAll();
      results[name] = show(await scenario(client, () => connect(port, protocol), protocol));
    } catch (error) {
      results[name] = { thrown: String(error.stack) };
    }
    client.end();
  }
  process.stdout.write(JSON.stringify(results));
  process.exit(0);
}

module.exports = { caught, clientLine, main };

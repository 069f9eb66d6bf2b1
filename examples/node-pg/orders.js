// pg_eventstore from Node.js with node-pg: conflicts, safe retries, folding.
'use strict';

const { randomUUID } = require('crypto');
const { Client } = require('pg');

// Appends one event and returns its version. A bigint arrives as a string.
async function append(client, stream, expected, type, data, id = null) {
  const result = await client.query(
    'SELECT es_append($1, $2, $3, $4, id => $5) AS version',
    [stream, expected, type, JSON.stringify(data), id],
  );
  return Number(result.rows[0].version);
}

async function load(client, stream) {
  const result = await client.query('SELECT version, type, data FROM es_load($1)', [stream]);
  return result.rows;
}

// Loads, decides, appends; where somebody was faster, does it all again.
async function decideAndAppend(client, stream, decide, attempts = 5) {
  for (let attempt = 1; ; attempt++) {
    const events = await load(client, stream);
    const [type, data] = await decide(events);
    try {
      return await append(client, stream, events.length, type, data);
    } catch (error) {
      if (error.code !== 'SE001' || attempt === attempts) throw error;
      const found = JSON.parse(error.detail);
      console.log(`conflict: expected version ${found.expected}, found ${found.actual}`);
    }
  }
}

function fold(events) {
  const state = { status: 'none', total: 0 };
  for (const { type, data } of events) {
    if (type === 'OrderPlaced') state.status = 'placed';
    else if (type === 'ItemAdded') state.total += data.price * data.quantity;
    else if (type === 'OrderPaid') state.status = 'paid';
  }
  return state;
}

// PGHOST and its like say where.
async function connect() {
  const client = new Client();
  await client.connect();
  return client;
}

async function main() {
  const stream = `order-${randomUUID()}`;
  let client = await connect();
  const other = await connect();

  const placed = await append(client, stream, 0, 'OrderPlaced', { customer: 'anna' });
  console.log(`placed the order: version ${placed}`);

  const added = await decideAndAppend(client, stream, async (events) => {
    // between our load and our append somebody else appends
    if (events.length === 1) await append(other, stream, 1, 'AddressChanged', { city: 'Graz' });
    return ['ItemAdded', { sku: 'apple', quantity: 3, price: 10 }];
  });
  console.log(`added an item: version ${added}`);

  // With an id of ours the very same call may be repeated: nothing is stored twice.
  const payment = [stream, 3, 'OrderPaid', { by: 'card' }, randomUUID()];
  await append(client, ...payment);
  await client.end(); // as if it broke before the answer came
  client = await connect();
  const paid = await append(client, ...payment);
  console.log(`paid, but the answer was lost; tried again: version ${paid}`);

  const events = await load(client, stream);
  const state = fold(events);
  console.log(`the stream has ${events.length} events`);
  console.log(`the order is ${state.status}, total ${state.total}`);
  await client.end();
  await other.end();
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});

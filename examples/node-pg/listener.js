// pg_eventstore from Node.js with node-pg: a listener that misses nothing.
//
// It reads on from a checkpoint, and sleeps until a notification says that there is
// more. The notification is a hint: what counts is the checkpoint. So it may lose the
// connection, or be ended, at any time.
'use strict';

const { Client } = require('pg');

const POLL = 1000 * Number(process.env.LISTENER_POLL || 30); // ms; in case nobody notifies
const PAGE = 100;

// What is of no use to try again: our own mistakes, and a lost tail.
const HOPELESS = /^(SE|22|42)/;

// Does the work. What it writes through client is done exactly once: the checkpoint
// moves in the same transaction. What it does elsewhere, such as printing, may be done
// again after a crash.
async function handle(client, event) {
  console.log(`${event.position} ${event.stream} ${event.version} ${event.type}`);
}

// Handles the next events and moves the checkpoint; false where there are none.
async function readPage(client, name) {
  await client.query('BEGIN');
  const checkpoint = await client.query(
    'SELECT position FROM checkpoint WHERE name = $1 FOR UPDATE',
    [name],
  );
  const { rows } = await client.query(
    'SELECT position, stream, version, type, data FROM es_read($1, $2)',
    [checkpoint.rows[0].position, PAGE], // a bigint is a string, and may stay one
  );
  for (const event of rows) await handle(client, event);
  if (rows.length > 0) {
    await client.query('UPDATE checkpoint SET position = $1 WHERE name = $2', [
      rows[rows.length - 1].position,
      name,
    ]);
  }
  await client.query('COMMIT');
  return rows.length > 0;
}

// Handles events for as long as the connection lasts.
async function listen(client, name) {
  let notified = false;
  let wake = () => {};
  const notice = () => {
    notified = true;
    wake();
  };
  client.on('notification', notice);
  client.on('end', notice); // the next query will say what has happened
  await client.query('LISTEN es_events'); // before the first look, so that nothing comes in between
  for (;;) {
    notified = false;
    while (await readPage(client, name));
    if (!notified) {
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, POLL);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}

async function connect(client, name) {
  await client.connect();
  await client.query(
    'CREATE TABLE IF NOT EXISTS checkpoint (name text PRIMARY KEY, position bigint NOT NULL)',
  );
  await client.query('INSERT INTO checkpoint VALUES ($1, 0) ON CONFLICT DO NOTHING', [name]);
}

async function main(name = 'listener') {
  for (;;) {
    // a session of our own: LISTEN does not work through a pool in transaction mode
    const client = new Client({ application_name: name });
    client.on('error', () => {}); // the next query will say it again
    try {
      await connect(client, name);
      await listen(client, name);
    } catch (error) {
      if (error.code === 'SE005') {
        const lost = JSON.parse(error.detail);
        console.error(`have seen what the log has lost: read on after ${lost.last}`);
        process.exit(1);
      }
      if (HOPELESS.test(error.code)) throw error;
      console.error(`connecting again: ${error.message}`);
    }
    await client.end().catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exitCode = 1;
});

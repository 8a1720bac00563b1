import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { object, text, wholeNumber } from '../../lib/json-shape/json-shape.js';
import { ifThere } from '../../lib/files/if-there.js';

/** Names of files in the tunnel directory that the tunnel server and the hub share. */
export const AUTHORIZED_KEYS_FILE = 'authorized_keys';
export const SERVER_FILE = 'server.json';

/** Content of server.json: how nodes reach this tunnel server, as far as it knows. */
export interface TunnelServerPlace {
  readonly user: string;
  readonly listen_host: string;
  readonly listen_port: number;
}

/** The tunnel server's own description; null: none has run with this directory. @throws WrongShapeError, SyntaxError when the file holds something else */
export async function readTunnelServerPlace(tunnelDirectory: string): Promise<TunnelServerPlace | null> {
  const json = await ifThere(readFile(join(tunnelDirectory, SERVER_FILE), 'utf8'));
  if (json === null) return null;
  const place = object(JSON.parse(json), SERVER_FILE);
  return {
    user: text(place['user'], 'user'),
    listen_host: text(place['listen_host'], 'listen_host'),
    listen_port: wholeNumber(place['listen_port'], 'listen_port'),
  };
}

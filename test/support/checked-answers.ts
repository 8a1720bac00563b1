import { existsSync, readFileSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { ApiContract, type JsonMap, UndocumentedAnswerError } from './api-contract.js';

const DIST = resolve(import.meta.dirname, '../../dist');
/** The document of the newest build, after a line that names the build. */
const KEPT = join(DIST, '.openapi');
/** Bodies of these are read whole by those who ask for them; all others are streams or files, of which only status and media type are checked. */
const READ_WHOLE = /^application\/(?:problem\+)?json\b/;

const bareFetch = globalThis.fetch;
/** Hubs whose answers are checked: their addresses, and the contract of each. */
const hubs = new Map<string, () => Promise<ApiContract>>();
let served: Promise<ApiContract> | null = null;
let failure: UndocumentedAnswerError | null = null;

/** From here on every answer that `fetch` gets from `url` is held against a contract; one that is not documented is thrown to who asked. */
export function checkAnswersOf(url: string, contract: () => Promise<ApiContract>): void {
  hubs.set(new URL(url).origin, contract);
  globalThis.fetch = checkedFetch;
}

/** The contract of the build, which its hubs serve. @param token reads the API token, which opens the document */
export async function servedContract(url: string, token: () => string): Promise<ApiContract> {
  // JSON.parse gives JSON by definition; its declared type is the looser any.
  served ??= documentText(url, token).then((text) => new ApiContract(JSON.parse(text) as JsonMap));
  try {
    return await served;
  } catch (error) {
    served = null;
    throw error;
  }
}

/** The first answer that was not documented, for those whose asker has swallowed the error. */
export function requireDocumentedAnswers(): void {
  if (failure !== null) throw failure;
}

async function checkedFetch(input: string | URL | Request, init?: RequestInit): Promise<Response> {
  const response = await bareFetch(input, init);
  const url = new URL(input instanceof Request ? input.url : input);
  const contract = hubs.get(url.origin);
  if (contract === undefined || !url.pathname.startsWith('/api/v1')) return response;
  const contentType = response.headers.get('content-type');
  const isReadWhole = contentType === null || READ_WHOLE.test(contentType);
  // A hub that is killed in the middle of an answer is an error of its reader.
  const body = isReadWhole ? await response.clone().text() : null;
  const method = init?.method ?? (input instanceof Request ? input.method : 'GET');
  try {
    (await contract()).check({ method, path: url.pathname + url.search, status: response.status, contentType, body });
  } catch (error) {
    if (error instanceof UndocumentedAnswerError) failure ??= error;
    throw error;
  }
  return response;
}

/** One build serves one document, so the first hub of a build is asked for all others. */
async function documentText(url: string, token: () => string): Promise<string> {
  const build = readFileSync(join(DIST, '.built-from'), 'utf8').trim();
  const kept = existsSync(KEPT) ? readFileSync(KEPT, 'utf8') : '';
  if (kept.startsWith(`${build}\n`)) return kept.slice(build.length + 1);
  const response = await bareFetch(`${url}/api/openapi.json`, { headers: { authorization: `Bearer ${token()}` } });
  const text = await response.text();
  if (!response.ok) throw new Error(`the hub does not show its OpenAPI document: ${response.status} ${text}`);
  await writeFile(`${KEPT}.${process.pid}`, `${build}\n${text}`);
  await rename(`${KEPT}.${process.pid}`, KEPT);
  return text;
}

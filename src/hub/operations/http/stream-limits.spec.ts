import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Controller, Get, Global, Module, Req, Res } from '@nestjs/common';
import type { Request, Response } from 'express';
import { API_TOKEN, type HttpApp, startHttpApp } from '../../../../test/support/http-app.js';
import { HubConfig } from '../../hub.config.js';
import { EventStream, wantsEventStream } from './server-sent-events.js';
import { Streams } from './stream-limits.js';

const CHUNK = Buffer.alloc(64 * 1024);

@Controller('long')
class LongController {
  closed = 0;

  @Get('download')
  @Streams('download')
  download(@Res() response: Response): void {
    response.once('close', () => (this.closed += 1));
    const fill = (): void => {
      while (!response.destroyed && response.write(CHUNK));
    };
    response.on('drain', fill);
    fill();
  }

  /** A source that is slower than any rate, with a reader that takes everything. */
  @Get('trickle')
  @Streams('download')
  trickle(@Res() response: Response): void {
    const timer = setInterval(() => response.write('.'), 100);
    response.once('close', () => clearInterval(timer));
  }

  @Get('events')
  @Streams('event_stream', wantsEventStream)
  events(@Req() request: Request, @Res() response: Response): void {
    if (wantsEventStream(request)) void new EventStream(request, response).send({ data: 'first' });
    else response.json({ events: [] });
  }
}

class ConfigOfTest extends HubConfig {
  override readonly maxDownloads = 3;
  override readonly maxDownloadsPerActor = 2;
  override readonly maxEventStreams = 1;
  override readonly slowReaderSeconds = 1;
}

@Global()
@Module({ providers: [{ provide: HubConfig, useClass: ConfigOfTest }], exports: [HubConfig] })
class ConfigModuleOfTest {}

let http: HttpApp;
const opened: IncomingMessage[] = [];

beforeEach(async () => {
  http = await startHttpApp([LongController], { imports: [ConfigModuleOfTest] });
});

afterEach(async () => {
  for (const answer of opened.splice(0)) answer.destroy();
  await http.close();
});

async function open(path: string, accept = '*/*'): Promise<IncomingMessage> {
  const address = http.app.getHttpServer().address() as { port: number };
  const sent = get({ port: address.port, path: `/api/v1/long/${path}`, headers: { authorization: `Bearer ${API_TOKEN}`, accept } });
  const [answer] = (await once(sent, 'response')) as [IncomingMessage];
  answer.on('error', () => undefined);
  opened.push(answer);
  return answer;
}

async function codeOf(answer: IncomingMessage): Promise<unknown> {
  let text = '';
  for await (const chunk of answer) text += String(chunk);
  return (JSON.parse(text) as { code?: unknown }).code;
}

describe('downloads', () => {
  it('are limited per actor, and a finished download frees its place', async () => {
    const [first] = [await open('trickle'), await open('trickle')];
    const refused = await open('trickle');
    expect([refused.statusCode, refused.headers['retry-after'], await codeOf(refused)]).toEqual([429, '10', 'too_many_downloads']);
    first.destroy();
    for (;;) {
      const next = await open('trickle');
      if (next.statusCode === 200) break;
    }
  });

  it('are cut off when their reader reads nothing', async () => {
    const answer = await open('download');
    answer.pause();
    const controller = http.app.get(LongController);
    while (controller.closed === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    answer.resume();
    await expect(once(answer, 'end')).rejects.toThrow();
  });

  it('continue when their source is slow, and when their reader is fast', async () => {
    const [slow, fast] = [await open('trickle'), await open('download')];
    let taken = 0;
    fast.on('data', (chunk: Buffer) => (taken += chunk.length));
    let dots = 0;
    slow.on('data', (chunk: Buffer) => (dots += chunk.length));
    while (dots < 25) await new Promise((resolve) => setTimeout(resolve, 20));
    expect([slow.destroyed, fast.destroyed]).toEqual([false, false]);
    expect(taken).toBeGreaterThan(CHUNK.length);
  });
});

describe('event streams', () => {
  it('have their own limit, to which plain answers of the same route do not count', async () => {
    expect((await open('events', 'text/event-stream')).statusCode).toBe(200);
    const refused = await open('events', 'text/event-stream');
    expect([refused.statusCode, await codeOf(refused)]).toEqual([429, 'too_many_event_streams']);
    expect((await open('events', 'application/json')).statusCode).toBe(200);
    expect((await open('trickle')).statusCode).toBe(200);
  });
});

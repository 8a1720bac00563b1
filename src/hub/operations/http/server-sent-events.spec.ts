import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Controller, Get, Req, Res } from '@nestjs/common';
import type { Request, Response } from 'express';
import { get, type IncomingMessage } from 'node:http';
import { once } from 'node:events';
import { API_TOKEN, type HttpApp, startHttpApp } from '../../../../test/support/http-app.js';
import { EventStream, lastEventIdOf, wantsEventStream } from './server-sent-events.js';

const BIG = 'x'.repeat(64 * 1024);

@Controller('streams')
class StreamsController {
  sent = 0;
  ended: (sent: number) => void = () => undefined;

  @Get('three')
  async three(@Req() request: Request, @Res() response: Response): Promise<void> {
    const stream = new EventStream(request, response);
    await stream.send({ id: '1', event: 'Started', data: { text: 'line one\nline two' } });
    await stream.send({ data: { last: lastEventIdOf(request) } });
    await expect(stream.send({ id: '1\ndata: forged', data: null })).rejects.toThrow('line breaks');
    await stream.end();
    await stream.end();
  }

  @Get('idle')
  idle(@Req() request: Request, @Res() response: Response): void {
    const stream = new EventStream(request, response, { keepAliveMs: 5 });
    stream.signal.addEventListener('abort', () => {
      this.ended(0);
    });
  }

  @Get('flood')
  async flood(@Req() request: Request, @Res() response: Response): Promise<void> {
    this.sent = 0;
    const stream = new EventStream(request, response, { stalledMs: 300 });
    while (await stream.send({ data: BIG })) this.sent += 1;
    this.ended(this.sent);
  }

  @Get('either')
  either(@Req() request: Request, @Res() response: Response): void {
    response.json({ stream: wantsEventStream(request) });
  }
}

let http: HttpApp;
let controller: StreamsController;

beforeAll(async () => {
  http = await startHttpApp([StreamsController]);
  controller = http.app.get(StreamsController);
});

afterAll(async () => {
  await http.close();
});

async function open(path: string, headers: Record<string, string> = {}): Promise<IncomingMessage> {
  const url = new URL(`/api/v1/streams/${path}`, await http.app.getUrl());
  const [response] = (await once(get(url, { headers: { Authorization: `Bearer ${API_TOKEN}`, ...headers } }), 'response')) as [IncomingMessage];
  return response;
}

describe('server-sent events', () => {
  it('are framed according to the standard and end with the stream', async () => {
    const response = await open('three', { 'Last-Event-ID': '41' });
    expect(response.headers['content-type']).toMatch(/^text\/event-stream/);
    let text = '';
    for await (const chunk of response) text += String(chunk);
    expect(text).toBe('id: 1\nevent: Started\ndata: {"text":"line one\\nline two"}\n\ndata: {"last":"41"}\n\n');
  });

  it('an idle stream is kept alive by comments, and ends when the client disconnects', async () => {
    const ended = new Promise<number>((resolve) => {
      controller.ended = resolve;
    });
    const response = await open('idle');
    const [chunk] = (await once(response, 'data')) as [Buffer];
    expect(chunk.toString()).toMatch(/^: keep-alive\n\n/);
    response.destroy();
    await ended;
  });

  it('a client that does not read slows its producer down and is finally disconnected', async () => {
    const ended = new Promise<number>((resolve) => {
      controller.ended = resolve;
    });
    const response = await open('flood');
    response.pause();
    const sent = await ended;
    // No more than the socket buffers of both sides hold.
    expect(sent * BIG.length).toBeLessThan(64 * 1024 * 1024);
    response.destroy();
  });

  it('are sent to clients that request them', async () => {
    const asked = async (accept: string): Promise<string> => {
      let text = '';
      for await (const chunk of await open('either', { Accept: accept })) text += String(chunk);
      return text;
    };
    expect(await asked('text/event-stream')).toBe('{"stream":true}');
    expect(await asked('application/json')).toBe('{"stream":false}');
    expect(await asked('*/*')).toBe('{"stream":false}');
  });
});

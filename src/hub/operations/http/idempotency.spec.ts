import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Body, Controller, Delete, HttpCode, Injectable, Param, Post, Put, Query, Res } from '@nestjs/common';
import { IsString } from 'class-validator';
import type { Response } from 'express';
import request from 'supertest';
import { API_TOKEN, type HttpApp, NODE_TOKEN, startHttpApp } from '../../../../test/support/http-app.js';
import { InMemoryEventStore } from '../../../../test/support/in-memory-event-store.js';
import type { CommandContext } from '../../../kernel/command-context.js';
import { DomainError } from '../../../kernel/domain-error.js';
import { NodeOnly } from '../../../lib/http/bearer.guard.js';
import { Context } from '../../../lib/http/command-context.interceptor.js';
import { answerPosition } from './own-writes.interceptor.js';
import { Optional } from '../../../contract/validation/presence.decorators.js';
import { EventStore } from '../../store/event-store/event-store.port.js';

class OrderDto {
  @IsString()
  name!: string;

  @Optional()
  @IsString()
  note?: string;
}

/** Lets the tests observe and control the runs of the handler. */
@Injectable()
class Orders {
  readonly commands: CommandContext[] = [];
  failure: Error | null = null;
  gate: Promise<void> = Promise.resolve();
  entered: () => void = () => undefined;

  /** Whether the command records an event before it continues or fails. */
  records = false;

  constructor(private readonly store: EventStore) {}

  async run(context: CommandContext): Promise<void> {
    this.commands.push(context);
    if (this.records) {
      const metadata = { $correlationId: 'c', $causationId: context.commandId, actor: 'a', hub_id: 'h', schema_version: 1, time: new Date().toISOString() };
      await this.store.append(`order-${context.commandId}`, 'any', [{ id: context.commandId, type: 'OrderAttempted', data: {}, metadata }]);
    }
    this.entered();
    await this.gate;
    if (this.failure) throw this.failure;
  }
}

@Controller('orders')
class OrdersController {
  constructor(private readonly orders: Orders) {}

  @Post()
  @HttpCode(202)
  async place(
    @Body() body: OrderDto,
    @Query('force') _force: string | undefined,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<unknown> {
    await this.orders.run(context);
    answerPosition(response, '00000000000000000007');
    response.set('Location', `/api/v1/orders/${context.commandId}`);
    response.set('X-Private', 'not kept');
    return { order_id: context.commandId, name: body.name, run: this.orders.commands.length };
  }

  @Delete(':id')
  @HttpCode(204)
  async remove(@Param('id') _id: string, @Context() context: CommandContext): Promise<void> {
    await this.orders.run(context);
  }

  @Put(':id')
  async replace(@Param('id') id: string, @Context() context: CommandContext): Promise<unknown> {
    await this.orders.run(context);
    return { id, run: this.orders.commands.length };
  }

  @NodeOnly()
  @Post('from-node')
  async fromNode(@Context() context: CommandContext): Promise<unknown> {
    await this.orders.run(context);
    return { run: this.orders.commands.length };
  }
}

let http: HttpApp;
let orders: Orders;

async function restart(store?: InMemoryEventStore): Promise<void> {
  http = await startHttpApp([OrdersController], { ...(store && { store }), providers: [Orders] });
  orders = http.app.get(Orders);
}

beforeEach(async () => {
  await restart();
});

afterEach(async () => {
  await http.close();
});

const place = (key: string, body: object, path = '/api/v1/orders') =>
  request(http.app.getHttpServer()).post(path).set('Authorization', `Bearer ${API_TOKEN}`).set('Idempotency-Key', key).send(body);

const storedTypes = async (): Promise<string[]> => {
  const types: string[] = [];
  const commandId = orders.commands[0]?.commandId ?? 'none';
  for await (const event of http.store.read(`command-${commandId}`)) types.push(event.type);
  return types;
};

describe('a command with an Idempotency-Key', () => {
  it('runs once; the same key gets the original answer with its status and headers', async () => {
    const first = await place('k1', { name: 'a', note: 'b' });
    const again = await place('k1', { note: 'b', name: 'a' });
    expect(first.status).toBe(202);
    expect(first.headers['idempotency-replayed']).toBeUndefined();
    expect(again.status).toBe(202);
    expect(again.body).toEqual(first.body);
    expect(again.headers).toMatchObject({ 'idempotency-replayed': 'true', etag: '"00000000000000000007"', location: first.headers['location'] });
    expect(again.headers['x-private']).toBeUndefined();
    expect(orders.commands).toHaveLength(1);
    expect(await storedTypes()).toEqual(['CommandAccepted', 'CommandAnswered']);
  });

  it('also gets the original answer after a restart', async () => {
    const first = await place('k1', { name: 'a' });
    const { store } = http;
    await http.close();
    await restart(store);
    const again = await place('k1', { name: 'a' });
    expect(again.body).toEqual(first.body);
    expect(again.headers['idempotency-replayed']).toBe('true');
    expect(orders.commands).toHaveLength(0);
  });

  it('another body or another query is 422 and changes nothing', async () => {
    await place('k1', { name: 'a' });
    for (const other of [await place('k1', { name: 'b' }), await place('k1', { name: 'a' }, '/api/v1/orders?force=true')]) {
      expect(other.status).toBe(422);
      expect(other.body).toMatchObject({ code: 'idempotency_key_reused' });
    }
    expect(orders.commands).toHaveLength(1);
  });

  it('another key, route or actor is another command', async () => {
    await place('k1', { name: 'a' });
    await place('k2', { name: 'a' });
    await request(http.app.getHttpServer()).delete('/api/v1/orders/1').set('Authorization', `Bearer ${API_TOKEN}`).set('Idempotency-Key', 'k1');
    await request(http.app.getHttpServer()).put('/api/v1/orders/1').set('Authorization', `Bearer ${API_TOKEN}`).set('Idempotency-Key', 'k1');
    await request(http.app.getHttpServer()).post('/api/v1/orders/from-node').set('Authorization', `Bearer ${NODE_TOKEN}`).set('Idempotency-Key', 'k1');
    expect(new Set(orders.commands.map(({ commandId }) => commandId)).size).toBe(5);
  });

  it('an answer without a body is repeated without one', async () => {
    const remove = () => request(http.app.getHttpServer()).delete('/api/v1/orders/1').set('Authorization', `Bearer ${API_TOKEN}`).set('Idempotency-Key', 'k1');
    expect((await remove()).status).toBe(204);
    const again = await remove();
    expect(again.status).toBe(204);
    expect(again.text).toBe('');
    expect(again.headers['idempotency-replayed']).toBe('true');
    expect(orders.commands).toHaveLength(1);
  });

  it('a refusal that recorded something is stored and repeated as problem details', async () => {
    orders.records = true;
    orders.failure = new DomainError('conflict', 'order_failed', 'The order failed.', { order: 1 });
    const first = await place('k1', { name: 'a' });
    orders.failure = null;
    const again = await place('k1', { name: 'a' });
    expect(first.status).toBe(409);
    expect(again.status).toBe(409);
    expect(again.headers['content-type']).toMatch(/^application\/problem\+json/);
    expect(again.body).toEqual(first.body);
    expect(orders.commands).toHaveLength(1);
  });

  it('a refusal that recorded nothing leaves the key unused, for the same and for a corrected body', async () => {
    orders.failure = new DomainError('conflict', 'order_exists', 'The order already exists.', { order: 1 });
    expect((await place('k1', { name: 'a' })).status).toBe(409);
    orders.failure = null;
    expect((await place('k1', { nmae: 'b' })).status).toBe(400);
    expect(await storedTypes()).toEqual([]);
    const corrected = await place('k1', { name: 'b' });
    expect(corrected.status).toBe(202);
    expect(corrected.headers['idempotency-replayed']).toBeUndefined();
    expect((await place('k1', { name: 'b' })).headers['idempotency-replayed']).toBe('true');
    expect((await place('k1', { name: 'c' })).status).toBe(422);
  });

  it.each([
    ['a defect', new Error('broken'), 500],
    ['an exhausted resource', new DomainError('unavailable', 'ports_exhausted', 'All ports are taken.'), 503],
  ])('%s is not stored: the same key runs the same command again', async (_, failure, status) => {
    orders.failure = failure;
    expect((await place('k1', { name: 'a' })).status).toBe(status);
    orders.failure = null;
    const again = await place('k1', { name: 'a' });
    expect(again.status).toBe(202);
    expect(again.headers['idempotency-replayed']).toBeUndefined();
    expect(orders.commands.map(({ commandId }) => commandId)).toEqual([orders.commands[0]?.commandId, orders.commands[0]?.commandId]);
  });

  it('a command accepted by a process that died runs again under the same id', async () => {
    const entered = new Promise<void>((resolve) => {
      orders.entered = resolve;
    });
    orders.records = true;
    orders.gate = new Promise(() => undefined);
    const lost = place('k1', { name: 'a' }).then(
      () => 'answered',
      () => 'lost',
    );
    await entered;
    const { store } = http;
    const commandId = orders.commands[0]?.commandId;
    expect(await storedTypes()).toEqual(['CommandAccepted']);
    await http.close();
    expect(await lost).toBe('lost');
    await restart(store);
    const again = await place('k1', { name: 'a' });
    expect(again.status).toBe(202);
    expect(orders.commands.map((context) => context.commandId)).toEqual([commandId]);
  });

  it('a second request waits for the first and gets its answer', async () => {
    let open: () => void = () => undefined;
    orders.gate = new Promise((resolve) => {
      open = resolve;
    });
    const entered = new Promise<void>((resolve) => {
      orders.entered = resolve;
    });
    const first = place('k1', { name: 'a' }).then((answer) => answer);
    await entered;
    const others = [1, 2, 3].map(() => place('k1', { name: 'a' }).then((answer) => answer));
    open();
    const answers = await Promise.all([first, ...others]);
    expect(answers.map(({ status }) => status)).toEqual([202, 202, 202, 202]);
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
    expect(orders.commands).toHaveLength(1);
  });

  it('a second request does not wait forever: 409 with Retry-After', async () => {
    let open: () => void = () => undefined;
    orders.gate = new Promise((resolve) => {
      open = resolve;
    });
    const entered = new Promise<void>((resolve) => {
      orders.entered = resolve;
    });
    const first = place('k1', { name: 'a' }).then((answer) => answer);
    await entered;
    const second = await place('k1', { name: 'a' });
    expect(second.status).toBe(409);
    expect(second.headers['retry-after']).toBe('2');
    expect(second.body).toMatchObject({ code: 'command_in_progress' });
    open();
    expect((await first).status).toBe(202);
    expect((await place('k1', { name: 'a' })).body).toEqual((await first).body);
  }, 60_000);

  it('with the store unavailable: 503, and the handler is not called', async () => {
    http.store.unavailable = true;
    const answer = await place('k1', { name: 'a' });
    expect(answer.status).toBe(503);
    expect(answer.body).toMatchObject({ code: 'storage_unavailable' });
    expect(orders.commands).toHaveLength(0);
  });

  it('if the store becomes unavailable during the command, its answer is still sent', async () => {
    orders.entered = () => {
      http.store.unavailable = true;
    };
    expect((await place('k1', { name: 'a' })).status).toBe(202);
    http.store.unavailable = false;
    orders.entered = () => undefined;
    expect((await place('k1', { name: 'a' })).body).toMatchObject({ run: 2 });
  });

  it.each(['', 'a b', 'x'.repeat(201), 'é'])('a key that is not 1 to 200 visible ASCII characters is refused', async (key) => {
    const answer = await place(key, { name: 'a' });
    expect(answer.status).toBe(400);
    expect(answer.body.errors).toEqual([expect.objectContaining({ field: 'Idempotency-Key', rule: 'visible_ascii' })]);
    expect(orders.commands).toHaveLength(0);
  });
});

it('without a key each request is a separate command', async () => {
  const send = () => request(http.app.getHttpServer()).post('/api/v1/orders').set('Authorization', `Bearer ${API_TOKEN}`).send({ name: 'a' });
  await send();
  await send();
  expect(new Set(orders.commands.map(({ commandId }) => commandId)).size).toBe(2);
  expect(await http.store.head()).toBeNull();
});

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import 'reflect-metadata';
import { Controller, Get, type Type } from '@nestjs/common';
import { ApiExtraModels } from '@nestjs/swagger';
import { plainToInstance } from 'class-transformer';
import { getMetadataStorage, validateSync } from 'class-validator';
import '../../src/hub/hub.module.js';
import { openApiDocument } from '../../src/hub/operations/http/open-api.js';
import { RULE_EXTENSION, validatedClasses } from '../../src/hub/operations/http/open-api-schemas.js';
import '../../src/node/node-agent.module.js';
import { ApiContract, at, type Json, type JsonMap, map } from '../support/api-contract.js';
import { type HttpApp, OPEN_API, startHttpApp } from '../support/http-app.js';
import { edgesOf } from '../support/schema-edges.js';

const SEED = 20_261_122;
const MAX_SHOWN = 120;

const { schemas: described } = OPEN_API;
type DtoClass = new () => object;

/** Every class that validates what comes from outside and is in the OpenAPI document. */
const classes = [...validatedClasses().keys()].filter(({ name }) => name in described) as unknown as Type[];

/** Puts a schema of each of them into the document, those of queries included. */
@ApiExtraModels(...classes)
@Controller('requests')
class AllRequestsController {
  @Get()
  get(): string {
    return '';
  }
}

let http: HttpApp;
let contract: ApiContract;
let schemas: JsonMap;

beforeAll(async () => {
  http = await startHttpApp([AllRequestsController]);
  // The document is JSON, as it is served.
  const document = JSON.parse(JSON.stringify(openApiDocument(http.app, OPEN_API))) as JsonMap;
  contract = new ApiContract(document);
  schemas = map(at(document, 'components', 'schemas'));
});

afterAll(async () => {
  await http.close();
});

function isAccepted(dto: Type, given: JsonMap, member: string): boolean {
  const instance: unknown = plainToInstance(dto, given);
  if (typeof instance !== 'object' || instance === null) throw new Error(`${dto.name} has no instance`);
  return !validateSync(instance, { whitelist: true, forbidNonWhitelisted: true }).some(({ property }) => property === member);
}

/** Whether the schema, or one that it refers to, has a rule that JSON Schema cannot express. */
function hasMoreRules(schema: Json): boolean {
  const text = JSON.stringify(contract.resolved(schema));
  return text.includes(`"${RULE_EXTENSION}"`) || [...text.matchAll(/"\$ref":"([^"]+)"/g)].some(([, $ref]) => hasMoreRules({ $ref: $ref ?? '' }));
}

/** All that a query has is text. */
function asGiven(dto: Type, value: Json): Json | undefined {
  if (!/Query(?:Dto)?$/.test(dto.name)) return value;
  return typeof value === 'object' ? undefined : String(value);
}

/** What the schema thinks of a text in a query: numbers and booleans are read from it. */
function asMeant(dto: Type, schema: JsonMap, given: Json): Json {
  if (!/Query(?:Dto)?$/.test(dto.name) || typeof given !== 'string') return given;
  if (schema['type'] === 'boolean') return given === 'true' ? true : given === 'false' ? false : given;
  return schema['type'] === 'integer' ? Number(given) : given;
}

describe('the OpenAPI schema of a request', () => {
  it('is looked for in every class that validates what comes from outside', () => {
    expect(classes.length).toBeGreaterThan(40);
  });

  it.each(classes.map((dto) => [dto.name, dto] as const))('of %s takes exactly what validation takes', (name, dto) => {
    const schema = map(schemas[name]);
    const wrong: string[] = [];
    for (const [member, property] of Object.entries(map(schema['properties']))) {
      const validate = contract.validator(property);
      const isLooser = hasMoreRules(property);
      // The schemas that it refers to have a turn of their own.
      for (const edge of edgesOf(contract, property, SEED, 'own schema')) {
        const given = asGiven(dto, edge);
        if (given === undefined) continue;
        const documented = validate(asMeant(dto, contract.resolved(property), given));
        const accepted = isAccepted(dto, { [member]: given }, member);
        if (documented !== accepted && !(isLooser && documented)) {
          wrong.push(`${member} ${JSON.stringify(given).slice(0, MAX_SHOWN)}: ${documented ? 'documented, but refused' : 'accepted, but not documented'}`);
        }
      }
      const isRequired = JSON.stringify(schema['required'] ?? []).includes(JSON.stringify(member));
      if (isRequired === isAccepted(dto, {}, member)) wrong.push(`${member} is ${isRequired ? 'required' : 'optional'} in the document alone`);
    }
    expect(wrong).toEqual([]);
  });
});

/** Every class that validates requests or reports, with its members; those of configuration files have rules of their own. */
function dtoMembers(): (readonly [name: string, dto: DtoClass, member: string])[] {
  const storage = getMetadataStorage();
  // The storage keys its entries by class; its declared type is the looser any.
  const classes = [...(storage as unknown as { readonly validationMetadatas: ReadonlyMap<DtoClass, unknown> }).validationMetadatas.keys()];
  return classes
    .filter((dto) => !dto.name.endsWith('Config'))
    .flatMap((dto) => {
      const members = new Set(storage.getTargetValidationMetadatas(dto, '', false, false).map(({ propertyName }) => propertyName));
      return [...members].map((member) => [`${dto.name}.${member}`, dto, member] as const);
    });
}

function isDocumentedNullable(dto: DtoClass, member: string): boolean {
  const schema = described[dto.name]?.properties[member];
  if (schema !== undefined) return /"null"/.test(JSON.stringify([schema['type'], schema['anyOf']]));
  const documented: unknown = Reflect.getMetadata('swagger/apiModelProperties', dto.prototype as object, member);
  return typeof documented === 'object' && documented !== null && 'nullable' in documented && documented.nullable === true;
}

describe('a member that is null', () => {
  const members = dtoMembers();

  it('is looked for in every class that validates what comes from outside', () => {
    expect(members.length).toBeGreaterThan(100);
  });

  it.each(members)('%s is refused exactly where the OpenAPI document does not say nullable', (_, dto, member) => {
    const given = Object.assign(new dto(), { [member]: null });
    const refused = validateSync(given).some(({ property }) => property === member);
    expect(refused).toBe(!isDocumentedNullable(dto, member));
  });
});

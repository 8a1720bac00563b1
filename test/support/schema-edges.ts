import fc from 'fast-check';
import { type ApiContract, at, isList, type Json, type JsonMap, map, textOf } from './api-contract.js';

const SAMPLES = 3;
const WIDE = ['a', 'é', '😀'];
const UUID = '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11';
const UUIDS = [UUID, UUID.toUpperCase(), `${UUID}0`, UUID.slice(1), UUID.replaceAll('-', ''), `{${UUID}}`, ` ${UUID}`, `${UUID}\n`, UUID.replace('c', 'g')];
const INSTANTS = [
  '2026-11-21T10:30:00Z',
  '2026-11-21t10:30:00.123456z',
  '2024-02-29T23:59:59+14:00',
  '2026-02-29T10:30:00Z',
  '2026-13-01T10:30:00Z',
  '2026-11-21T24:00:00Z',
  '2026-11-21',
  '2026-W48-1',
  '2026-325',
  '10:30:00Z',
  '2026-11-21T10:30:00',
  'now',
];
const ANY_TYPE: readonly Json[] = [null, true, false, 0, -1, 1.5, 1e21, '', '0', 'true', 'text', [], [null], {}, { a: 1 }];

type Into = 'all schemas' | 'own schema';

/**
 * Values around everything that a schema says: at each limit, just beyond it, and of other types. The same ones for the same seed.
 * @param into whether the members of a schema that it refers to are varied too
 */
export function edgesOf(contract: ApiContract, given: Json, seed: number, into: Into = 'all schemas'): readonly Json[] {
  const schema = contract.resolved(given);
  const alternatives = schema['anyOf'] ?? schema['allOf'];
  const own = alternatives !== undefined && isList(alternatives) ? alternatives.flatMap((each) => edgesOf(contract, each, seed, into)) : [];
  return [
    ...ANY_TYPE,
    ...own,
    ...textEdges(schema, seed),
    ...numberEdges(schema),
    ...listEdges(contract, schema, seed, into),
    ...objectEdges(contract, given, seed, into),
    ...valuesOf(schema),
  ];
}

/** A value that the schema takes: its example, or one put together from the examples of its parts. */
export function validValue(contract: ApiContract, given: Json): Json {
  const schema = contract.resolved(given);
  const example = schema['example'];
  if (example !== undefined) return example;
  if (schema['default'] !== undefined) return schema['default'];
  const alternatives = schema['anyOf'] ?? schema['allOf'];
  if (alternatives !== undefined && isList(alternatives)) return validValue(contract, alternatives[0] ?? null);
  if (isOfType(schema, 'object')) {
    return Object.fromEntries(Object.entries(map(schema['properties'] ?? {})).map(([name, property]) => [name, validValue(contract, property)]));
  }
  if (isOfType(schema, 'array')) return [validValue(contract, schema['items'] ?? null)];
  throw new Error(`there is no example in ${JSON.stringify(schema)}`);
}

function valuesOf(schema: JsonMap): readonly Json[] {
  const values = schema['enum'];
  if (values === undefined || !isList(values)) return [];
  return values.flatMap<Json>((value) => (typeof value === 'string' ? [value, value.toUpperCase(), `${value} `] : [value]));
}

function textEdges(schema: JsonMap, seed: number): readonly string[] {
  if (!isOfType(schema, 'string')) return [];
  const { minLength, maxLength, pattern, format } = schema;
  const lengths = [minLength, maxLength].flatMap((limit) => (typeof limit === 'number' ? [limit - 1, limit, limit + 1] : [])).filter((length) => length >= 0);
  const long = lengths.flatMap((length) => WIDE.map((character) => character.repeat(length)));
  const absolute = lengths.filter((length) => length > 0).map((length) => `/${'p'.repeat(length - 1)}`);
  const matching = typeof pattern === 'string' ? matchesOf(schema, pattern, seed) : [];
  const nearly = matching.flatMap((text) => [text, `${text}\n`, ` ${text}`, text.slice(1), `${text}\u0007`, text + text]);
  return [...long, ...absolute, ...nearly, ...(format === 'uuid' ? UUIDS : []), ...(format === 'date-time' ? INSTANTS : []), ' ', '\t', '\u200b', 'ü'];
}

/** fast-check makes no text for patterns that look around; their example is one. */
function matchesOf(schema: JsonMap, pattern: string, seed: number): readonly string[] {
  if (/\(\?<?[=!]/.test(pattern)) return [textOf(schema['example'])];
  return fc.sample(fc.stringMatching(new RegExp(pattern, 'u')), { numRuns: SAMPLES, seed });
}

function numberEdges(schema: JsonMap): readonly Json[] {
  if (!isOfType(schema, 'integer') && !isOfType(schema, 'number')) return [];
  const { minimum, maximum } = schema;
  return [minimum, maximum].flatMap((limit) => (typeof limit === 'number' ? [limit - 1, limit - 0.5, limit, limit + 1] : []));
}

function listEdges(contract: ApiContract, schema: JsonMap, seed: number, into: Into): readonly Json[] {
  if (!isOfType(schema, 'array')) return [];
  const { minItems, maxItems, items = null } = schema;
  const example = schema['example'];
  const item = example !== undefined && isList(example) && example[0] !== undefined ? example[0] : validValue(contract, items);
  const lengths = [
    ...(typeof minItems === 'number' ? [minItems - 1, minItems] : []),
    // A longest list may have 10,000 items, each of which is validated.
    ...(typeof maxItems === 'number' ? [maxItems, maxItems + 1] : []),
  ].filter((length) => length >= 0);
  return [...lengths.map((length) => Array.from({ length }, () => item)), ...edgesOf(contract, items, seed, into).map((each) => [each])];
}

function objectEdges(contract: ApiContract, given: Json, seed: number, into: Into): readonly Json[] {
  const schema = contract.resolved(given);
  const properties = at(schema, 'properties');
  if (!isOfType(schema, 'object') || properties === undefined) return [];
  const valid = map(validValue(contract, schema));
  const lacking = Object.keys(valid).map((name) => Object.fromEntries(Object.entries(valid).filter(([other]) => other !== name)));
  const whole = [valid, { ...valid, unknown_member: 1 }, ...lacking];
  if (into === 'own schema' && '$ref' in map(given)) return whole;
  const changed = Object.entries(map(properties)).flatMap(([name, property]) =>
    edgesOf(contract, property, seed, into).map((value) => ({ ...valid, [name]: value })),
  );
  return [...whole, ...changed];
}

function isOfType(schema: JsonMap, type: string): boolean {
  const types = schema['type'];
  return types === type || (types !== undefined && isList(types) && types.includes(type));
}

import { describe, expect, it } from '@jest/globals';
import 'reflect-metadata';
import { getMetadataStorage, validateSync } from 'class-validator';
import '../../src/hub/hub.module.js';
import '../../src/node/node-agent.module.js';
import { OPEN_API } from '../support/http-app.js';

type DtoClass = new () => object;

const { schemas } = OPEN_API;

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
  const schema = schemas[dto.name]?.properties[member];
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

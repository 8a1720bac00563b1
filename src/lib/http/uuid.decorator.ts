import { applyDecorators } from '@nestjs/common';
import { Transform } from 'class-transformer';
import { registerDecorator } from 'class-validator';

const UUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i;

/** The only rule for ids in paths, bodies, queries and headers. */
export function isUuid(value: unknown): value is string {
  return typeof value === 'string' && UUID.test(value);
}

/** A member that is an id. The handler gets it in lower case, as ids are stored. */
export function IsUuid(): PropertyDecorator {
  return applyDecorators(
    Transform(({ value }: { readonly value: unknown }) => (isUuid(value) ? value.toLowerCase() : value)),
    (target: object, property: string | symbol) => {
      registerDecorator({
        name: 'isUuid',
        target: target.constructor,
        propertyName: String(property),
        validator: { validate: isUuid, defaultMessage: () => `${String(property)} must be a UUID` },
      });
    },
  );
}

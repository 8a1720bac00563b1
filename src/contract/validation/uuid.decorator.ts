import { applyDecorators } from '@nestjs/common';
import { registerDecorator } from 'class-validator';
import { isUuid } from '../../kernel/uuid.js';
import { Converted } from './conversion.js';

/** A member that is an id. The handler gets it in lower case, as ids are stored. */
export function IsUuid(): PropertyDecorator {
  return applyDecorators(
    Converted((value) => (isUuid(value) ? value.toLowerCase() : null)),
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

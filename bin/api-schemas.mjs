/**
 * Plugin of `nest build`: derives the JSON Schema of each class of the API from its TypeScript type, so that a property is written once. Its doc comment is the
 * description; `@example` and `@default` give JSON, `@format` a format of JSON Schema, and `@integer` excludes fractions.
 * Writes .setup/api-schemas.json, which bin/bundle.mjs puts next to the hub.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import ts from 'typescript';

/** Messages between hub and node, and in the hub requests and answers. */
const MESSAGES = /^src\/contract\//;
const SOURCES = /^src\/(hub|lib\/http)\//;
const CLASSES = /(Dto|Problem|Query|Request|Response|Schema)$/;

export function before(_options, program) {
  mkdirSync('.setup', { recursive: true });
  writeFileSync(join('.setup', 'api-schemas.json'), `${JSON.stringify(schemasOf(program))}\n`);
  return () => (file) => file;
}

/** @throws Error for a type that has no schema */
export function schemasOf(program) {
  const checker = program.getTypeChecker();
  const classes = program
    .getSourceFiles()
    .flatMap(({ statements }) => statements)
    .filter(isOfTheApi);
  const schemas = {};
  for (const node of classes) {
    const name = node.name.text;
    if (name in schemas) throw new Error(`two classes of the API are named ${name}`);
    const properties = checker
      .getPropertiesOfType(checker.getTypeAtLocation(node))
      .filter(({ valueDeclaration }) => ts.isPropertyDeclaration(valueDeclaration));
    schemas[name] = {
      classes: [name, ...(checker.getTypeAtLocation(node).getBaseTypes() ?? []).map(({ symbol }) => symbol.name)],
      type: 'object',
      properties: Object.fromEntries(properties.map((property) => [property.name, propertySchema(checker, node, property)])),
      required: properties.filter(({ valueDeclaration }) => !isOptional(valueDeclaration)).map((property) => property.name),
    };
  }
  return schemas;
}

function isOfTheApi(node) {
  if (!ts.isClassDeclaration(node) || node.name === undefined) return false;
  const file = relative('.', node.getSourceFile().fileName);
  return (MESSAGES.test(file) && node.members.every(ts.isPropertyDeclaration)) || (SOURCES.test(file) && CLASSES.test(node.name.text));
}

function isOptional(declaration) {
  return declaration.questionToken !== undefined || declaration.initializer !== undefined;
}

function propertySchema(checker, node, property) {
  const { valueDeclaration: declaration } = property;
  try {
    const isDecorated = (ts.getDecorators(declaration) ?? []).some((decorator) => decorator.getText().startsWith('@ApiProperty'));
    if (isDecorated) throw new Error('its type and doc comment are its schema, so @ApiProperty has no effect');
    const schema = schemaOf(checker, checker.getTypeOfSymbol(property));
    const description = ts.displayPartsToString(property.getDocumentationComment(checker)).replaceAll(/\s*\n\s*/g, ' ');
    if (description !== '') schema.description = description;
    for (const { name, text } of property.getJsDocTags()) {
      const value = ts.displayPartsToString(text);
      if (name === 'example' || name === 'default') schema[name] = JSON.parse(value);
      if (name === 'format') schema.format = value;
      if (name === 'integer') schema.type = Array.isArray(schema.type) ? ['integer', 'null'] : 'integer';
    }
    if (declaration.initializer !== undefined) {
      const { value, intrinsicName } = checker.getTypeAtLocation(declaration.initializer);
      schema.default = value ?? (intrinsicName === undefined ? undefined : intrinsicName === 'true');
    }
    // A closed set of values is its own example.
    if (schema.enum !== undefined) schema.example ??= schema.default ?? schema.enum[0];
    else if (schema.type?.includes('boolean')) schema.example ??= false;
    return schema;
  } catch (error) {
    throw new Error(`${node.name.text}.${property.name}: ${error.message}`, { cause: error });
  }
}

function schemaOf(checker, given) {
  const members = given.isUnion() ? given.types : [given];
  const isNullable = members.some(({ flags }) => flags & ts.TypeFlags.Null);
  const types = members.filter(({ flags }) => !(flags & (ts.TypeFlags.Null | ts.TypeFlags.Undefined)));
  const schema = valueSchema(checker, types);
  if (!isNullable) return schema;
  if (schema.$ref !== undefined) return { anyOf: [schema, { type: 'null' }] };
  return { ...schema, type: [schema.type, 'null'], ...(schema.enum !== undefined && { enum: [...schema.enum, null] }) };
}

function valueSchema(checker, types) {
  const all = (flag) => types.every(({ flags }) => flags & flag);
  if (all(ts.TypeFlags.BooleanLiteral)) return { type: 'boolean', ...(types.length === 1 && { enum: [types[0].intrinsicName === 'true'] }) };
  // Sorted, because the compiler's own order depends on what else it has read.
  if (all(ts.TypeFlags.StringLiteral)) return { type: 'string', enum: types.map(({ value }) => value).sort() };
  if (all(ts.TypeFlags.NumberLiteral)) return { type: 'number', enum: types.map(({ value }) => value) };
  const [type, ...others] = types;
  if (others.length > 0 || type === undefined) throw new Error('a union of these types has no schema');
  if (type.flags & ts.TypeFlags.String) return { type: 'string' };
  if (type.flags & ts.TypeFlags.Number) return { type: 'number' };
  if (checker.isArrayType(type)) return { type: 'array', items: schemaOf(checker, checker.getTypeArguments(type)[0]) };
  if (type.isClass() && isOfTheApi(type.symbol.valueDeclaration)) return { $ref: `#/components/schemas/${type.symbol.name}` };
  if (checker.getIndexInfosOfType(type).length > 0) return { type: 'object', additionalProperties: true };
  throw new Error(`${checker.typeToString(type)} has no schema; give it a class`);
}

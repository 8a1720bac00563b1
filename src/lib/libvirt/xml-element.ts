import XMLBuilder from 'fast-xml-builder';
import { XMLParser } from 'fast-xml-parser';
import { SyntaxValidator } from 'fast-xml-validator';
import { messageOf } from '../../kernel/error-message.js';
import { object, WrongShapeError } from '../json-shape/json-shape.js';

/** An immutable element with its children in order; white space between elements is left out. */
export interface XmlElement {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly (XmlElement | string)[];
}

const ATTRIBUTE = '@_';
const ATTRIBUTES = ':@';
const TEXT = '#text';
const OPTIONS = {
  preserveOrder: true,
  ignoreAttributes: false,
  attributeNamePrefix: ATTRIBUTE,
  textNodeName: TEXT,
} as const;

/**
 * The root element of a document. Comments, processing instructions and the document type are left out, and entities it defines are not expanded.
 * @throws WrongShapeError when it is not well-formed, or the parser refuses it
 */
export function parseXml(text: string): XmlElement {
  try {
    SyntaxValidator.validate(text);
  } catch (error) {
    throw new WrongShapeError(`it is not well-formed XML: ${messageOf(error)}`);
  }
  const parser = new XMLParser({
    ...OPTIONS,
    parseTagValue: false,
    parseAttributeValue: false,
    trimValues: true,
    ignoreDeclaration: true,
    ignorePiTags: true,
  });
  let parsed: unknown;
  try {
    parsed = parser.parse(text);
  } catch (error) {
    // It refuses names such as constructor, which every object has.
    throw new WrongShapeError(`the XML parser refuses it: ${messageOf(error)}`);
  }
  const roots = elementsOf(parsed).filter((node) => typeof node !== 'string');
  const [root] = roots;
  if (root === undefined || roots.length !== 1) throw new WrongShapeError('it has no single root element');
  return root;
}

/** The document as indented text. */
export function writeXml(root: XmlElement): string {
  const builder = new XMLBuilder({ ...OPTIONS, format: true, suppressEmptyNode: true, suppressBooleanAttributes: false });
  return builder.build([plainOf(root)]);
}

export function element(name: string, attributes: Readonly<Record<string, string>> = {}, ...children: readonly (XmlElement | string)[]): XmlElement {
  return { name, attributes, children };
}

/** The child elements; with a name, only those of that name. */
export function childrenOf(parent: XmlElement | undefined, name?: string): readonly XmlElement[] {
  return (parent?.children ?? []).filter((child): child is XmlElement => typeof child !== 'string' && (name === undefined || child.name === name));
}

export function childOf(parent: XmlElement | undefined, name: string): XmlElement | undefined {
  return childrenOf(parent, name)[0];
}

/** The element's own text, without that of its children. */
export function textOf(found: XmlElement | undefined): string {
  return (found?.children ?? []).filter((child) => typeof child === 'string').join('');
}

function elementsOf(nodes: unknown): readonly (XmlElement | string)[] {
  if (!Array.isArray(nodes)) throw new WrongShapeError('the XML parser did not return a list of nodes');
  return nodes.flatMap((node: unknown): readonly (XmlElement | string)[] => {
    if (typeof node !== 'object' || node === null) return [];
    const members = new Map<string, unknown>(Object.entries(node));
    if (members.has(TEXT)) return [String(members.get(TEXT))];
    const name = [...members.keys()].find((key) => key !== ATTRIBUTES);
    if (name === undefined || name.startsWith('?')) return [];
    const attributes = Object.entries(object(members.get(ATTRIBUTES) ?? {}, 'attributes')).map(([key, value]): [string, string] => [
      key.slice(ATTRIBUTE.length),
      String(value),
    ]);
    return [{ name, attributes: Object.fromEntries(attributes), children: elementsOf(members.get(name)) }];
  });
}

function plainOf(node: XmlElement | string): object {
  if (typeof node === 'string') return { [TEXT]: node };
  const attributes = Object.entries(node.attributes).map(([key, value]): [string, string] => [`${ATTRIBUTE}${key}`, value]);
  return { [node.name]: node.children.map(plainOf), ...(attributes.length === 0 ? {} : { [ATTRIBUTES]: Object.fromEntries(attributes) }) };
}

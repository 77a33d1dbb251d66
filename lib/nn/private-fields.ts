import { Session } from "node:inspector";
import process from "node:process";

/** For each class, whether its source text contains a name that begins with `#`. */
const declares = new WeakMap<object, boolean>();

/**
 * Returns the values of an object's `#private` fields that are objects, by name.
 *
 * Only the debugger can read the private fields of another class. It is used only for classes that declare some. If
 * there is no debugger (another runtime, or a process without the permission), the result is empty.
 *
 * @param end the base class at which the search ends. Its own fields and those of its base classes are not returned.
 */
export function privateFields(object: object, end: object): readonly (readonly [name: string, value: unknown])[] {
  if (!declaresPrivate(object, end)) return [];
  try {
    return ask(object);
  } catch {
    return [];
  }
}

function declaresPrivate(object: object, end: object): boolean {
  for (let prototype = Object.getPrototypeOf(object); prototype; prototype = Object.getPrototypeOf(prototype)) {
    const Class: unknown = Object.getOwnPropertyDescriptor(prototype, "constructor")?.value;
    if (Class === end) return false;
    if (typeof Class !== "function") continue;
    // A color in a string matches too. Then the debugger finds no fields.
    const found = declares.get(Class) ?? /#[\p{ID_Start}$_]/u.test(String(Class));
    declares.set(Class, found);
    if (found) return true;
  }
  return false;
}

/** Key of a global property through which the debugger gets the object and returns the values. */
const meetingPoint = Symbol.for("stepsize.private-fields");

function ask(object: object): [string, unknown][] {
  const exchange: { readonly object: object; values: unknown[] } = { object, values: [] };
  const session = new Session();
  session.connect();
  Object.defineProperty(process, meetingPoint, { value: exchange, configurable: true });
  try {
    const expression = 'process[Symbol.for("stepsize.private-fields")]';
    const box = send(session, "Runtime.evaluate", { expression }).result;
    const functionDeclaration = "function () { return this.object }";
    const subject = send(session, "Runtime.callFunctionOn", { ...handle(box), functionDeclaration }).result;
    const { privateProperties = [] } = send(session, "Runtime.getProperties", handle(subject));
    const fields = privateProperties.filter(({ value }) => value?.objectId !== undefined);
    send(session, "Runtime.callFunctionOn", {
      ...handle(box),
      functionDeclaration: "function (...values) { this.values = values }",
      arguments: fields.map(({ value }) => handle(value)),
    });
    return fields.map(({ name }, i) => [name, exchange.values[i]]);
  } finally {
    Reflect.deleteProperty(process, meetingPoint);
    session.disconnect();
  }
}

interface RemoteObject {
  readonly objectId?: string;
}

interface Answer {
  readonly result: RemoteObject;
  readonly privateProperties?: readonly { readonly name: string; readonly value?: RemoteObject }[];
}

function handle(remote: RemoteObject | undefined): { objectId: string } {
  if (remote?.objectId === undefined) throw new Error("the debugger does not know the object");
  return { objectId: remote.objectId };
}

/** Sends a command to the debugger. In the same thread, it answers before `post` returns. */
function send(session: Session, method: string, parameters: object): Answer {
  let answer: Answer | undefined;
  session.post(method, parameters, (_, result) => {
    answer = result as Answer | undefined;
  });
  if (answer === undefined) throw new Error(`${method} failed`);
  return answer;
}

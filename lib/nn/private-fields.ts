import type { Runtime } from "node:inspector";
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
  // Loaded at the first use, because few programs have such classes.
  const session = new (process.getBuiltinModule("node:inspector").Session)();
  session.connect();
  Object.defineProperty(process, meetingPoint, { value: exchange, configurable: true });
  try {
    const expression = 'process[Symbol.for("stepsize.private-fields")]';
    const box = answer<Runtime.EvaluateReturnType>((done) => session.post("Runtime.evaluate", { expression }, done));
    const call = (functionDeclaration: string, values: readonly Runtime.CallArgument[] = []) =>
      answer<Runtime.CallFunctionOnReturnType>((done) =>
        session.post(
          "Runtime.callFunctionOn",
          { ...handle(box.result), functionDeclaration, arguments: [...values] },
          done,
        ),
      );
    const subject = call("function () { return this.object }").result;
    const { privateProperties = [] } = answer<Properties>((done) =>
      session.post("Runtime.getProperties", handle(subject), done),
    );
    const fields = privateProperties.filter(({ value }) => value?.objectId !== undefined);
    call(
      "function (...values) { this.values = values }",
      fields.map(({ value }) => handle(value)),
    );
    return fields.map(({ name }, i) => [name, exchange.values[i]]);
  } finally {
    Reflect.deleteProperty(process, meetingPoint);
    session.disconnect();
  }
}

/** The declarations of Node.js 20 lack the private properties. */
interface Properties extends Runtime.GetPropertiesReturnType {
  readonly privateProperties?: readonly { readonly name: string; readonly value?: Runtime.RemoteObject }[];
}

function handle(remote: Runtime.RemoteObject | undefined): { objectId: string } {
  if (remote?.objectId === undefined) throw new Error("the debugger does not know the object");
  return { objectId: remote.objectId };
}

/** Returns the debugger's answer to a command. In the same thread, it answers before `post` returns. */
function answer<T>(post: (done: (error: Error | null, result: T) => void) => void): T {
  const answers: T[] = [];
  post((error, result) => {
    if (error === null) answers.push(result);
  });
  const [first] = answers;
  if (first === undefined) throw new Error("the debugger refused a command");
  return first;
}

// What the browser remembers: for this tab, or for this browser. A browser may forbid it, when the page asks for the storage
// or at any later use, or its storage may be full. Then the page keeps the values until it is closed, and forgets them.
const attempt = (use) => {
  try {
    return use();
  } catch {
    return null;
  }
};

const memory = (name) => {
  const storage = attempt(() => window[name]);
  const here = new Map();
  return {
    get: (key) => (here.has(key) ? here.get(key) : attempt(() => storage.getItem(`framewise.${key}`))),
    set(key, value) {
      here.set(key, value);
      attempt(() => storage.setItem(`framewise.${key}`, value));
    },
    forget(key) {
      here.set(key, null);
      attempt(() => storage.removeItem(`framewise.${key}`));
    },
  };
};

export const tab = memory('sessionStorage');
export const browser = memory('localStorage');

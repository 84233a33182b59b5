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

/** Moves a token from the address of the page to the memory of its tab. In the address it would be on the wall. */
export function takeToken(store) {
  const address = new URL(location.href);
  if (!address.searchParams.has('token')) return;
  tab.set(store, address.searchParams.get('token'));
  address.searchParams.delete('token');
  history.replaceState(null, '', address);
}

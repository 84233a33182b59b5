//! Whether several views of one conversation can come from one order of its messages.

use std::collections::HashMap;

use crate::event::MessageId;

/// Returns messages that the views put in contradictory orders, if there are any: each one comes before the next one in some
/// view, and the last one before the first one.
pub fn cycle(views: &[Vec<MessageId>]) -> Option<Vec<MessageId>> {
    let mut after: HashMap<MessageId, Vec<MessageId>> = HashMap::new();
    let mut before: HashMap<MessageId, usize> = HashMap::new();
    for pair in views.iter().flat_map(|view| view.windows(2)) {
        after.entry(pair[0]).or_default().push(pair[1]);
        *before.entry(pair[1]).or_default() += 1;
        before.entry(pair[0]).or_default();
    }
    // Kahn's algorithm: takes messages that come after no other one. What is left has a cycle.
    let mut free: Vec<MessageId> =
        before.iter().filter(|(_, count)| **count == 0).map(|(id, _)| *id).collect();
    while let Some(id) = free.pop() {
        before.remove(&id);
        for next in after.get(&id).into_iter().flatten() {
            let count = before.get_mut(next).expect("it comes after a message that was left");
            *count -= 1;
            if *count == 0 {
                free.push(*next);
            }
        }
    }
    // Each message that is left comes after another one that is left, so a walk backwards returns to where it was.
    let mut previous = HashMap::new();
    for (id, nexts) in after.iter().filter(|(id, _)| before.contains_key(*id)) {
        previous.extend(nexts.iter().map(|next| (*next, *id)));
    }
    let mut walk = vec![*before.keys().min()?];
    loop {
        let id = previous[walk.last().expect("not empty")];
        if let Some(place) = walk.iter().position(|seen| *seen == id) {
            walk.drain(..place);
            walk.reverse();
            return Some(walk);
        }
        walk.push(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(numbers: &[usize]) -> Vec<MessageId> {
        numbers.iter().map(|&number| MessageId { sender: 0, number }).collect()
    }

    #[test]
    fn views_of_one_order_agree() {
        assert_eq!(cycle(&[view(&[1, 2, 4]), view(&[2, 3, 4]), view(&[1, 3]), view(&[])]), None);
    }

    #[test]
    fn a_contradiction_is_shown() {
        let mut found =
            cycle(&[view(&[0, 1, 2]), view(&[2, 3]), view(&[3, 1, 5])]).expect("1, 2, 3");
        let smallest = found.iter().position(|id| id.number == 1).expect("part of it");
        found.rotate_left(smallest);
        assert_eq!(found, view(&[1, 2, 3]));
    }
}

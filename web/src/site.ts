// The page of a published site: what answers in the place of a server comes first.
import "./published";
import "./main";
